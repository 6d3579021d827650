"""Qwen3-MoE (arXiv 2505.09388, section 2): 128 experts, 8 a token, none shared.

Attention as in dense Qwen3. The weights of the picked experts are scaled to sum to 1, and the load
is balanced over the global batch (arXiv 2501.11873).
"""

from align.model.families import qwen3

FIELDS = {
    **qwen3.FIELDS,
    "norm_topk_prob": True,
    "balance_over": "global_batch",
    "tie_word_embeddings": False,
    "num_experts": 128,
    "num_experts_per_tok": 8,
}

COLUMNS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "moe_intermediate_size",
)
SIZES = {
    "qwen3-30b-a3b": (2048, 6144, 48, 32, 4, 768),
    "qwen3-235b-a22b": (4096, 12_288, 94, 64, 4, 1536),
}
