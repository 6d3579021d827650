"""Named sizes: Qwen2.5's published dense models, and one small enough to pretrain on a laptop."""

from difflib import get_close_matches
from typing import Any

from align.model.config import ModelConfigError, QwenConfig

_SIZE_FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "tie_word_embeddings",
    "vocab_size",
    "max_position_embeddings",
)
# Qwen2.5 technical report (arXiv 2412.15115): table 1 for layers, heads and tied embeddings,
# section 3.3 for the length trained at; widths and vocabulary rows as in the published checkpoints.
PRESETS: dict[str, tuple[int, int, int, int, int, bool, int, int]] = {
    "tiny": (192, 512, 4, 4, 2, True, 4096, 2048),
    "qwen2.5-0.5b": (896, 4864, 24, 14, 2, True, 151_936, 32_768),
    "qwen2.5-1.5b": (1536, 8960, 28, 12, 2, True, 151_936, 32_768),
    "qwen2.5-3b": (2048, 11_008, 36, 16, 2, True, 151_936, 32_768),
    "qwen2.5-7b": (3584, 18_944, 28, 28, 4, False, 152_064, 32_768),
    "qwen2.5-14b": (5120, 13_824, 48, 40, 8, False, 152_064, 32_768),
    "qwen2.5-32b": (5120, 27_648, 64, 40, 8, False, 152_064, 32_768),
    "qwen2.5-72b": (8192, 29_568, 80, 64, 8, False, 152_064, 32_768),
}


def preset(name: str, **overrides: Any) -> QwenConfig:
    """A configuration by name, with any of `QwenConfig`'s fields overridden.

    Token ids stay None: they belong to the tokenizer that the model will be used with.

    Raises:
        ModelConfigError: no preset has that name, or `QwenConfig` has no such field.
    """
    sizes = PRESETS.get(name.lower())
    if sizes is None:
        raise ModelConfigError(f"unknown preset {name!r}{_suggest(name.lower(), list(PRESETS))}")
    known = list(QwenConfig.__dataclass_fields__)
    for field in overrides:
        if field not in known:
            raise ModelConfigError(f"QwenConfig has no field {field!r}{_suggest(field, known)}")
    return QwenConfig(**{**dict(zip(_SIZE_FIELDS, sizes, strict=True)), **overrides})


def _suggest(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
