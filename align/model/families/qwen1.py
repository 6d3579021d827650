"""Qwen (arXiv 2309.16609): multi-head attention, biases on Q, K and V, the head of its own.

Trained at 2,048 tokens with RoPE at base 1e4. Longer texts are read without training (section 2.3):
the base grows with the text, queries are scaled by LogN, and lower layers see a shorter window.
The windows used were never published, so none is set here: `layer_windows` sets them.
"""

FIELDS = {
    "qkv_bias": True,
    "tie_word_embeddings": False,
    "max_position_embeddings": 8192,
    "rope_parameters": {
        "rope_type": "dynamic_ntk",
        "rope_theta": 1e4,
        "original_max_position_embeddings": 2048,
    },
    "use_logn_attn": True,
}

# Table 1 of the report; the published configurations name twice the width of a branch.
COLUMNS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
)
SIZES = {
    "qwen1-1.8b": (2048, 5504, 24, 16, 151_936),
    "qwen1-7b": (4096, 11_008, 32, 32, 151_936),
    "qwen1-14b": (5120, 13_696, 40, 40, 152_064),
    "qwen1-72b": (8192, 24_576, 80, 64, 152_064),
}
