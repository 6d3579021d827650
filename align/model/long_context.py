"""What a configuration may ask for beyond the trained length, and whether it makes sense.

- NTK-aware RoPE that grows with the text, LogN scaling of queries, and windows a layer: Qwen1
  (arXiv 2309.16609, section 2.3). None of them needs training.
- Dual Chunk Attention (arXiv 2402.17463): Qwen2 to Qwen2.5-1M.
- Vertical-slash sparse attention for reading a prompt (arXiv 2407.02490): Qwen2.5-1M.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from align.model.dual_chunk import DualChunk
from align.model.errors import ModelConfigError
from align.model.sparse import VerticalSlash

if TYPE_CHECKING:
    from align.model.config import QwenConfig

DYNAMIC_ROPE = ("dynamic", "dynamic_ntk")
_NEEDED = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor", "original_max_position_embeddings"),
    "dynamic": ("factor",),
    "dynamic_ntk": ("original_max_position_embeddings",),
}


def caches_unturned_keys(config: "QwenConfig") -> bool:
    """Whether a key's angle depends on what comes after it, so that it can't be cached turned."""
    dynamic = config.rope_parameters["rope_type"] in DYNAMIC_ROPE
    return dynamic or config.dual_chunk_attention_config is not None


def needs_long_attention(config: "QwenConfig") -> bool:
    """Whether a layer does more than turn queries and keys by their own positions."""
    return (
        caches_unturned_keys(config)
        or config.use_logn_attn
        or config.sparse_attention_config is not None
    )


def trained_length(config: "QwenConfig") -> int:
    """Tokens the model was trained on, where the configuration tells it from those it can take."""
    original = config.rope_parameters.get("original_max_position_embeddings")
    return original or config.max_position_embeddings


def logn_scale(position_ids: Tensor, trained: int) -> Tensor:
    """max(1, log(i) / log(trained)) of the i-th token of a text, counted from 1; fp32.

    Qwen1 (arXiv 2309.16609, section 2.3) multiplies queries by it, so that attention over a text
    longer than the trained one does not flatten.
    """
    number = position_ids.float() + 1
    return (torch.log(number) / math.log(trained)).clamp(min=1.0)


def check_long_context(config: "QwenConfig") -> None:
    """Raises ModelConfigError naming the field, what it is, and what was expected."""
    _check_rope(config.rope_parameters)
    chunks, sparse = config.dual_chunk_attention_config, config.sparse_attention_config
    if chunks is not None:
        _check_beside_chunks(config, DualChunk.from_config(chunks))
    if sparse is not None:
        VerticalSlash.from_config(sparse).check(
            config.num_hidden_layers, config.num_attention_heads
        )
    if chunks is not None and sparse is not None:
        raise ModelConfigError(
            "dual_chunk_attention_config beside sparse_attention_config: texts beyond a chunk "
            "would be read with all keys; use one of them"
        )
    windows = {config.window(layer) for layer in range(config.num_hidden_layers)} - {None}
    if windows and not (chunks is None and sparse is None):
        raise ModelConfigError(
            f"windows of {min(windows)} tokens beside dual_chunk_attention_config or "
            "sparse_attention_config: chunks and selected keys reach farther than the window; "
            "use one of them"
        )


def _check_beside_chunks(config: "QwenConfig", chunks: DualChunk) -> None:
    name = "dual_chunk_attention_config"
    if config.attention_dropout:
        raise ModelConfigError(
            f"attention_dropout {config.attention_dropout} beside {name}: chunks are read without "
            "dropout; set it to 0"
        )
    if not chunks.temperature:
        return
    if config.rope_parameters["rope_type"] == "yarn":
        raise ModelConfigError(
            f"{name}: temperature True beside rope_type 'yarn', which has one already: set "
            "temperature: false"
        )
    if chunks.original_max_position_embeddings < chunks.chunk_length:
        raise ModelConfigError(
            f"{name}: original_max_position_embeddings {chunks.original_max_position_embeddings}: "
            f"expected at least a chunk's {chunks.chunk_length} tokens, or temperature: false, for "
            "texts within a chunk are read without it"
        )


def _check_rope(rope: dict[str, Any]) -> None:
    kind = rope["rope_type"]
    if kind not in _NEEDED:
        raise ModelConfigError(f"rope_type {kind!r} is not supported, only {', '.join(_NEEDED)}")
    missing = [field for field in _NEEDED[kind] if not rope.get(field)]
    if missing:
        raise ModelConfigError(f"rope_parameters: rope_type {kind!r} needs {' and '.join(missing)}")
    if rope.get("factor") is not None and rope["factor"] < 1:
        raise ModelConfigError(f"rope_parameters: factor {rope['factor']}: expected at least 1")
    if rope.get("ramp", "dimensions") not in ("dimensions", "rotations"):
        raise ModelConfigError(
            f"rope_parameters: ramp {rope['ramp']!r}: expected 'dimensions' or 'rotations'"
        )
