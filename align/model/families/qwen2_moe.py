"""Qwen1.5-MoE and Qwen2-MoE (arXiv 2407.10671, section 2.2.2): fine-grained and shared experts.

Attention as in the dense models of their generation. A layer has many narrow experts, of which a
token sees a few with their softmax weights as they are, and shared ones that see every token, kept
as one network behind a sigmoid gate: 4 x 1,408 features in Qwen1.5-MoE, 8 x 2,560 in Qwen2-57B.
"""

FIELDS = {
    "qkv_bias": True,
    "norm_topk_prob": False,
    "tie_word_embeddings": False,
    "max_position_embeddings": 32_768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "vocab_size": 151_936,
}

COLUMNS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "moe_intermediate_size",
    "num_experts",
    "num_experts_per_tok",
    "shared_expert_intermediate_size",
)
SIZES = {
    "qwen1.5-moe-a2.7b": (2048, 5632, 24, 16, 16, 1408, 60, 4, 5632),
    "qwen2-57b-a14b": (3584, 18_944, 28, 28, 4, 2560, 64, 8, 20_480),
}
