"""Qwen2.5 (arXiv 2412.15115): Qwen2's layers, trained on more; and Qwen2.5-1M (arXiv 2501.15383).

The 1M models were trained to 262,144 tokens with RoPE at base 1e7, and read a million with Dual
Chunk Attention in chunks of 253,952.
"""

from align.model.families.qwen2 import COLUMNS, FIELDS

__all__ = ["COLUMNS", "FIELDS", "MILLION", "SIZES", "SIZES_1M"]

# Table 1 of the report; widths and vocabulary rows as in the published checkpoints.
SIZES = {
    "qwen2.5-0.5b": (896, 4864, 24, 14, 2, True, 151_936),
    "qwen2.5-1.5b": (1536, 8960, 28, 12, 2, True, 151_936),
    "qwen2.5-3b": (2048, 11_008, 36, 16, 2, True, 151_936),
    "qwen2.5-7b": (3584, 18_944, 28, 28, 4, False, 152_064),
    "qwen2.5-14b": (5120, 13_824, 48, 40, 8, False, 152_064),
    "qwen2.5-32b": (5120, 27_648, 64, 40, 8, False, 152_064),
    "qwen2.5-72b": (8192, 29_568, 80, 64, 8, False, 152_064),
}

MILLION = {
    **FIELDS,
    "max_position_embeddings": 1_010_000,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e7},
    "dual_chunk_attention_config": {
        "chunk_size": 262_144,
        "local_size": 8192,
        "original_max_position_embeddings": 262_144,
    },
}
SIZES_1M = {
    "qwen2.5-7b-1m": SIZES["qwen2.5-7b"],
    "qwen2.5-14b-1m": SIZES["qwen2.5-14b"],
}
