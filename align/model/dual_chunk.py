"""Dual Chunk Attention (An et al., arXiv 2402.17463): long texts in positions seen in training.

The text is cut into chunks of s tokens. A key's position is its place in its chunk, j mod s. A
query's depends on how many chunks before its own the key's chunk lies:

- its own (intra): i mod s, so distances are as they are;
- the one before (successive): min(s + i mod s, c - 1), right for the w = c - s nearest tokens;
- further back (inter): c - 1.

So no distance exceeds c - 1, the longest the model was trained on. All three share one softmax.
Used by Qwen2 and, to a million tokens, by Qwen2.5-1M (arXiv 2501.15383, section 4.1).

Shape letters: B batch, T queries, S keys, H query heads, K key/value heads, h head_dim.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from align.model.errors import ModelConfigError

BLOCK = 1024  # queries, and keys, whose scores are held at once


@dataclass(frozen=True)
class DualChunk:
    """`dual_chunk_attention_config`, with the names that released Qwen configurations have.

    chunk_size: c, one more than the longest distance; local_size: w; chunks have c - w tokens.
    original_max_position_embeddings: tokens from which on `temperature` sharpens the softmax: keys
        and scores grow by m = 0.1 ln(length / original) + 1 each, as YaRN has it (arXiv 2309.00071,
        equation 22) and vLLM's kernel for Qwen2.5-1M did. Set it False where RoPE is YaRN already.
        The length is that of all tokens at hand, so beyond the original one a text read at once
        differs from the same text read in steps, except in its last token.
    clamp: "paper" for distances up to c - 1; "released" for up to c, which the authors' code has.
    """

    chunk_size: int
    local_size: int
    original_max_position_embeddings: int
    clamp: str = "paper"
    temperature: bool = True

    @classmethod
    def from_config(cls, given: dict[str, Any]) -> "DualChunk":
        """Raises ModelConfigError for a field missing or unknown, and values that it can't have."""
        name = "dual_chunk_attention_config"
        known = {field.name for field in fields(cls)}
        needed = ("chunk_size", "local_size", "original_max_position_embeddings")
        missing, unknown = set(needed) - set(given), set(given) - known
        for problem, some in (("lacks", missing), ("has unknown", unknown)):
            if some:
                raise ModelConfigError(
                    f"{name} {problem} {', '.join(sorted(some))}: it needs {', '.join(needed)}, "
                    "and may have clamp, temperature"
                )
        for field in needed:
            if type(given[field]) is not int or given[field] < 1:
                raise ModelConfigError(
                    f"{name}: {field} {given[field]!r}: expected a whole number of tokens, from 1"
                )
        made = cls(**given)
        if made.local_size >= made.chunk_size:
            raise ModelConfigError(
                f"{name}: local_size {made.local_size}: expected 1 to chunk_size - 1 = "
                f"{made.chunk_size - 1}, for a chunk has chunk_size - local_size tokens"
            )
        if made.clamp not in ("paper", "released"):
            raise ModelConfigError(f"{name}: clamp {made.clamp!r}: expected 'paper' or 'released'")
        if type(made.temperature) is not bool:
            raise ModelConfigError(
                f"{name}: temperature {made.temperature!r}: expected true or false"
            )
        return made

    @property
    def chunk_length(self) -> int:
        """s, the tokens of a chunk; texts no longer need none of this."""
        return self.chunk_size - self.local_size

    @property
    def farthest(self) -> int:
        """The position of a query whose keys lie two chunks or more before it."""
        return self.chunk_size - (self.clamp == "paper")

    def query_positions(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of queries at `positions`: towards keys of their chunk, the one before, and others."""
        within = positions % self.chunk_length
        successive = (within + self.chunk_length).clamp(max=self.farthest)
        return within, successive, torch.full_like(positions, self.farthest)


def dual_chunk_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    query_positions: Tensor,
    key_positions: Tensor,
    key_mask: Tensor | None,
    turn: Callable[[Tensor, Tensor], Tensor],
    settings: DualChunk,
    scaling: float,
) -> Tensor:
    """Causal attention of (B, H, T, h) to (B, K, S, h), none of them turned yet; (B, T, H, h).

    query_positions (B, T), key_positions (B, S): a token's place in its row's text, from 0.
    key_mask: (B, S), False for padding, or None. turn: RoPE of (B, heads, n, h) at (B, n).
    Scores are held for a block of queries and keys at a time; blocks are merged by their log-sums
    of exponentials, in fp32 (fp64 for fp64), so the result is that of one softmax. A query that
    sees no key gets 0.
    """
    batch, _heads, length, size = query.shape
    by_key_head = (batch, key.shape[1], -1, size)
    wide = torch.promote_types(query.dtype, torch.float32)
    scaling = (scaling * _sharpness(key_positions, settings)).to(wide)[:, None, None, None]
    keys = turn(key, key_positions % settings.chunk_length).to(wide)
    values = value.to(wide)
    out = []
    for start in range(0, length, BLOCK):
        block = slice(start, start + BLOCK)
        at = query_positions[:, block]
        queries = [
            turn(query[:, :, block], positions).to(wide).reshape(by_key_head)
            for positions in settings.query_positions(at)
        ]
        merged = _Softmax(queries[0])
        for first in range(0, key.shape[2], BLOCK):
            seen = slice(first, first + BLOCK)
            key_at = key_positions[:, None, seen]
            allowed = key_at <= at[..., None]
            if key_mask is not None:
                allowed = allowed & key_mask[:, None, seen]
            if not bool(allowed.any()):
                continue
            gap = at[..., None] // settings.chunk_length - key_at // settings.chunk_length
            scores = _scores(queries, keys[:, :, seen], gap, allowed)
            merged.add(scores * scaling, values[:, :, seen])
        out.append(merged.mean.to(query.dtype).view(batch, query.shape[1], -1, size))
    return torch.cat(out, 2).transpose(1, 2)


def _sharpness(key_positions: Tensor, settings: DualChunk) -> Tensor:
    """(B,) by what a row's scores grow: m for its keys times m for the softmax."""
    lengths = key_positions.amax(1) + 1
    if not settings.temperature:
        return torch.ones_like(lengths, dtype=torch.float64)
    ratio = lengths.double() / settings.original_max_position_embeddings
    return (0.1 * torch.log(ratio) + 1).clamp(min=1.0).square()


def _scores(queries: list[Tensor], keys: Tensor, gap: Tensor, allowed: Tensor) -> Tensor:
    """Each pair's score by the query position that its chunks' gap calls for, -inf if not allowed.

    queries (B, K, g * t, h) of the three kinds, keys (B, K, n, h); gap and allowed (B, t, n).
    Returns (B, K, g * t, n).
    """
    groups = queries[0].shape[2] // gap.shape[1]
    scores = None
    for kind, query in enumerate(queries):
        chosen = allowed & (gap == kind if kind < 2 else gap >= kind)
        if bool(chosen.any()):
            part = query @ keys.transpose(-1, -2)
            chosen = chosen.repeat(1, groups, 1)[:, None]
            scores = part if scores is None else part.where(chosen, scores)
    return scores.masked_fill(~allowed.repeat(1, groups, 1)[:, None], -math.inf)


class _Softmax:
    """A softmax's weighted mean of values, over blocks of keys that come one after another."""

    def __init__(self, queries: Tensor) -> None:
        self.mean = torch.zeros_like(queries)
        self.log_sum = torch.full_like(queries[..., :1], -math.inf)

    def add(self, scores: Tensor, values: Tensor) -> None:
        """scores (..., t, n), -inf for what is not seen; values (..., n, h)."""
        log_sum = torch.logaddexp(self.log_sum, scores.logsumexp(-1, keepdim=True))
        # A query that has seen no key yet keeps mean 0: every weight is exp(-inf).
        finite = log_sum.masked_fill(log_sum == -math.inf, 0.0)
        mean = torch.exp(scores - finite) @ values
        self.mean = self.mean * torch.exp(self.log_sum - finite) + mean
        self.log_sum = log_sum


def relative_positions(length: int, settings: DualChunk) -> Tensor:
    """(length, length) the distance at which query i sees key j, by definition; -1 for j > i."""
    at = torch.arange(length)
    by_gap = torch.stack(settings.query_positions(at))
    gap = (at[:, None] // settings.chunk_length - at // settings.chunk_length).clamp(0, 2)
    distance = by_gap[gap, at[:, None]] - at % settings.chunk_length
    return distance.where(at[:, None] >= at, -1)
