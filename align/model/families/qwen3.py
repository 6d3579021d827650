"""Qwen3 (arXiv 2505.09388): an RMSNorm over each head's queries and keys instead of biases.

Heads have 128 features whatever the hidden size, so the attention may be wider than the residual
stream. Trained at 32,768 tokens with RoPE at base 1e6.
"""

FIELDS = {
    "qkv_bias": False,
    "qk_norm": True,
    "head_dim": 128,
    "max_position_embeddings": 32_768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "vocab_size": 151_936,
}

# Table 1 of the report; widths as in the published checkpoints.
COLUMNS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "tie_word_embeddings",
)
SIZES = {
    "qwen3-0.6b": (1024, 3072, 28, 16, 8, True),
    "qwen3-1.7b": (2048, 6144, 28, 16, 8, True),
    "qwen3-4b": (2560, 9728, 36, 32, 8, True),
    "qwen3-8b": (4096, 12_288, 36, 32, 8, False),
    "qwen3-14b": (5120, 17_408, 40, 40, 8, False),
    "qwen3-32b": (5120, 25_600, 64, 64, 8, False),
}
