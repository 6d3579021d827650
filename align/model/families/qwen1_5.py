"""Qwen1.5: Qwen1's layers at 32,768 tokens, RoPE at base 1e6, and none of its tricks of length.

Two sizes have grouped queries, the smallest ties its head to the embedding. There is no report;
the sizes are those of the published configurations.
"""

FIELDS = {
    "qkv_bias": True,
    "max_position_embeddings": 32_768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}

COLUMNS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "tie_word_embeddings",
    "vocab_size",
)
SIZES = {
    "qwen1.5-0.5b": (1024, 2816, 24, 16, 16, True, 151_936),
    "qwen1.5-1.8b": (2048, 5504, 24, 16, 16, False, 151_936),
    "qwen1.5-4b": (2560, 6912, 40, 20, 20, False, 151_936),
    "qwen1.5-7b": (4096, 11_008, 32, 32, 32, False, 151_936),
    "qwen1.5-14b": (5120, 13_696, 40, 40, 40, False, 152_064),
    "qwen1.5-32b": (5120, 27_392, 64, 40, 8, False, 152_064),
    "qwen1.5-72b": (8192, 24_576, 80, 64, 64, False, 152_064),
    "qwen1.5-110b": (8192, 49_152, 80, 64, 8, False, 152_064),
}
