"""Qwen2 (arXiv 2407.10671): grouped-query attention in every size, small ones with a tied head.

Trained at 32,768 tokens with RoPE at base 1e6; read to 131,072 with YaRN and Dual Chunk Attention,
whose chunk sizes were not published (section 2.2.1).
"""

FIELDS = {
    "qkv_bias": True,
    "max_position_embeddings": 32_768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}

# Table 1 of the report; vocabulary rows as in the published checkpoints.
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
    "qwen2-0.5b": (896, 4864, 24, 14, 2, True, 151_936),
    "qwen2-1.5b": (1536, 8960, 28, 12, 2, True, 151_936),
    "qwen2-7b": (3584, 18_944, 28, 28, 4, False, 152_064),
    "qwen2-72b": (8192, 29_568, 80, 64, 8, False, 152_064),
}
