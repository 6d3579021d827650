"""A model's sizes as a person reads them."""

from collections.abc import Iterator
from typing import Any

FIELDS = (
    ("num_hidden_layers", "layers"),
    ("hidden_size", "hidden size"),
    ("intermediate_size", "feed-forward width"),
    ("num_attention_heads", "query heads"),
    ("num_key_value_heads", "key/value heads"),
    ("head_dim", "features a head"),
    ("num_experts", "experts a layer"),
    ("num_experts_per_tok", "experts a token"),
    ("moe_intermediate_size", "expert width"),
    ("shared_expert_intermediate_size", "shared expert width"),
    ("vocab_size", "vocabulary rows"),
    ("max_position_embeddings", "context"),
)


def rows(config: Any, found: Any, *, batch: int, length: int) -> Iterator[tuple[str, str]]:
    """(what, how much); `found` is an `align.model.sizes.Sizes` for this batch and length."""
    for field, name in FIELDS:
        if getattr(config, field, None):
            yield name, f"{getattr(config, field):,}"
    yield "positions", _positions(config)
    yield "attention", _attention(config)
    parameters = found.parameters
    yield "parameters", _count(parameters.total)
    yield "  without embeddings", _count(parameters.non_embedding)
    if parameters.active != parameters.total:
        yield "  a token passes through", _count(parameters.active)
    yield "weights in bf16", _bytes(2 * parameters.total)
    yield "keys and values a token", f"{found.kv_bytes:,} bytes in bf16"
    yield f"  {length:,} tokens", _bytes(found.kv_bytes * length)
    yield f"FLOPs a token at {length:,}", f"{found.forward_flops / 1e9:,.2f} G forward"
    yield "", f"{found.training_flops / 1e9:,.2f} G in training"
    memory = found.training_memory
    whole = memory.states + memory.activations + memory.logits
    least = memory.states + memory.checkpointed + memory.logits
    yield f"training on {batch} x {length:,}", f"{_bytes(whole)}, bf16 autocast, AdamW, one process"
    yield "  weights and optimizer", _bytes(memory.states)
    yield (
        "  activations",
        f"{_bytes(memory.activations)} ({_bytes(memory.checkpointed)} recomputed)",
    )
    yield "  logits", _bytes(memory.logits)
    yield "  with checkpointing", f"{_bytes(least)}, activations {_bytes(memory.checkpointed)}"


def _positions(config: Any) -> str:
    rope = config.rope_parameters
    parts = [f"RoPE {rope['rope_type']}, base {rope['rope_theta']:,.0f}"]
    parts += ["LogN"] if config.use_logn_attn else []
    parts += ["dual chunks"] if config.dual_chunk_attention_config is not None else []
    parts += ["sparse prompts"] if config.sparse_attention_config is not None else []
    return ", ".join(parts)


def _attention(config: Any) -> str:
    parts = ["biases on Q, K, V"] if config.qkv_bias else ["no biases"]
    parts += ["norm over queries and keys"] if config.qk_norm else []
    parts += ["windows"] if config.use_sliding_window or config.layer_windows else []
    parts += ["head tied to the embedding"] if config.tie_word_embeddings else ["head of its own"]
    return ", ".join(parts)


def _count(number: int) -> str:
    return f"{number:,} ({number / 1e9:.3g} B)"


def _bytes(number: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:,.4g} {unit}"
        number /= 1024
    raise AssertionError
