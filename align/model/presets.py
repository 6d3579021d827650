"""Named sizes: every published Qwen, and two small enough to pretrain on a laptop."""

from difflib import get_close_matches
from typing import Any

from align.model.config import QwenConfig, QwenMoeConfig
from align.model.errors import ModelConfigError
from align.model.families import qwen1, qwen1_5, qwen2, qwen2_5, qwen2_moe, qwen3, qwen3_moe

# Not published: what this project pretrains from nothing on a CPU.
TINY = {
    **qwen2_5.FIELDS,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "vocab_size": 4096,
    "max_position_embeddings": 2048,
}
TINY_MOE = {
    **TINY,
    "moe_intermediate_size": 128,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "norm_topk_prob": True,
}

_Fields = dict[str, Any]


def _sized(fields: _Fields, columns: tuple[str, ...], sizes: dict[str, tuple]) -> _Fields:
    return {
        name: {**fields, **dict(zip(columns, values, strict=True))}
        for name, values in sizes.items()
    }


_DENSE: dict[str, _Fields] = {
    "tiny": TINY,
    **_sized(qwen1.FIELDS, qwen1.COLUMNS, qwen1.SIZES),
    **_sized(qwen1_5.FIELDS, qwen1_5.COLUMNS, qwen1_5.SIZES),
    **_sized(qwen2.FIELDS, qwen2.COLUMNS, qwen2.SIZES),
    **_sized(qwen2_5.FIELDS, qwen2_5.COLUMNS, qwen2_5.SIZES),
    **_sized(qwen2_5.MILLION, qwen2_5.COLUMNS, qwen2_5.SIZES_1M),
    **_sized(qwen3.FIELDS, qwen3.COLUMNS, qwen3.SIZES),
}
_MOE: dict[str, _Fields] = {
    "tiny-moe": TINY_MOE,
    **_sized(qwen2_moe.FIELDS, qwen2_moe.COLUMNS, qwen2_moe.SIZES),
    **_sized(qwen3_moe.FIELDS, qwen3_moe.COLUMNS, qwen3_moe.SIZES),
}
PRESETS = (*_DENSE, *_MOE)


def preset(name: str, **overrides: Any) -> QwenConfig:
    """A configuration by name, with any of its fields overridden.

    Token ids stay None: they belong to the tokenizer that the model will be used with.

    Raises:
        ModelConfigError: no preset has that name, or its configuration has no such field.
    """
    key = name.lower()
    if key not in PRESETS:
        raise ModelConfigError(f"unknown preset {name!r}{_suggest(key, PRESETS)}")
    config_class = QwenConfig if key in _DENSE else QwenMoeConfig
    known = tuple(config_class.__dataclass_fields__)
    for field in overrides:
        if field not in known:
            raise ModelConfigError(
                f"{config_class.__name__} has no field {field!r}{_suggest(field, known)}"
            )
    fields = {**_DENSE, **_MOE}[key]
    return config_class(**{**fields, "rope_parameters": {**fields["rope_parameters"]}, **overrides})


def _suggest(word: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
