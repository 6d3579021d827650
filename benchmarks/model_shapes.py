"""The models that the benchmarks of `align.model` build, ours and transformers' with one's weights.

Shapes of random weights: what a step costs does not hang on what the weights say.
"""

import torch
import transformers
from transformers import PreTrainedModel

DENSE = {"num_key_value_heads": 2, "num_attention_heads": 4, "tie_word_embeddings": True}
EXPERTS = {**DENSE, "num_experts": 64, "output_router_logits": True}
# Family, sizes. 3M with a vocabulary of 2,048, 30M with 8,192.
SHAPES: dict[str, tuple[str, dict]] = {
    "Qwen2.5, 3.7M": (
        "Qwen2",
        {**DENSE, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4,
         "vocab_size": 2048},
    ),
    "Qwen2.5, 29M": (
        "Qwen2",
        {**DENSE, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8,
         "vocab_size": 8192, "num_attention_heads": 8, "num_key_value_heads": 4},
    ),
    "Qwen3, 3.7M": (
        "Qwen3",
        {**DENSE, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4,
         "vocab_size": 2048, "head_dim": 64},
    ),
    "Qwen3-MoE, 3.6M, 64 experts, 8 a token": (
        "Qwen3Moe",
        {**EXPERTS, "hidden_size": 128, "moe_intermediate_size": 32, "num_hidden_layers": 4,
         "vocab_size": 2048, "head_dim": 32, "num_experts_per_tok": 8, "norm_topk_prob": True},
    ),
    "Qwen2-MoE, 3.8M, 64 experts, 4 a token, shared": (
        "Qwen2Moe",
        {**EXPERTS, "hidden_size": 128, "moe_intermediate_size": 32, "num_hidden_layers": 4,
         "vocab_size": 2048, "num_experts_per_tok": 4, "shared_expert_intermediate_size": 128},
    ),
    "Qwen3-MoE, 27M, 64 experts, 8 a token": (
        "Qwen3Moe",
        {**EXPERTS, "hidden_size": 256, "moe_intermediate_size": 128, "num_hidden_layers": 4,
         "vocab_size": 2048, "head_dim": 64, "num_experts_per_tok": 8, "norm_topk_prob": True},
    ),
}  # fmt: skip


def stock(family: str, fields: dict, **settings) -> PreTrainedModel:
    """A random model of transformers' own class."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**fields, **settings)
    return getattr(transformers, f"{family}ForCausalLM")(config)
