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
    clamp: "paper" for distances up to c - 1; "released" for up to c, which the authors' code has.
    """

    chunk_size: int
    local_size: int
    original_max_position_embeddings: int
    clamp: str = "paper"
    temperature: bool = True

    @classmethod
    def from_config(cls, given: dict[str, Any]) -> "DualChunk":
        """Raises ModelConfigError for a field missing or unknown, and sizes that make no chunk."""
        name = "dual_chunk_attention_config"
        known = {field.name for field in fields(cls)}
        needed = {"chunk_size", "local_size", "original_max_position_embeddings"}
        for problem, some in (("lacks", needed - set(given)), ("has unknown", set(given) - known)):
            if some:
                raise ModelConfigError(f"{name} {problem} {', '.join(sorted(some))}")
        made = cls(**given)
        if not 0 < made.local_size < made.chunk_size:
            raise ModelConfigError(
                f"{name}: local_size {made.local_size}: expected 1 to chunk_size - 1 = "
                f"{made.chunk_size - 1}, for a chunk has chunk_size - local_size tokens"
            )
        if made.clamp not in ("paper", "released"):
            raise ModelConfigError(f"{name}: clamp {made.clamp!r}: expected 'paper' or 'released'")
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
    of exponentials, in fp32 (fp64 for fp64), so the result is that of one softmax.
    """
    batch, _heads, length, size = query.shape
    wide = torch.promote_types(query.dtype, torch.float32)
    scaling = (scaling * _sharpness(key_positions, settings)).to(wide)[:, None, None, None, None]
    keys = turn(key, key_positions % settings.chunk_length).to(wide)
    values = value.to(wide)
    queries = [
        turn(query, positions).to(wide).view(batch, key.shape[1], -1, length, size)
        for positions in settings.query_positions(query_positions)
    ]
    out = []
    for start in range(0, length, BLOCK):
        block = slice(start, start + BLOCK)
        merged = _Softmax()
        for first in range(0, key.shape[2], BLOCK):
            seen = slice(first, first + BLOCK)
            allowed = key_positions[:, None, seen] <= query_positions[:, block, None]
            if key_mask is not None:
                allowed = allowed & key_mask[:, None, seen]
            if not bool(allowed.any()):
                continue
            gap = (
                query_positions[:, block, None] // settings.chunk_length
                - key_positions[:, None, seen] // settings.chunk_length
            )
            scores = _scores([q[..., block, :] for q in queries], keys[:, :, seen], gap, allowed)
            merged.add(scores * scaling, values[:, :, None, seen])
        out.append(merged.result().flatten(1, 2))
    return torch.cat(out, 2).transpose(1, 2).to(query.dtype)


def _sharpness(key_positions: Tensor, settings: DualChunk) -> Tensor:
    """(B,) by what a row's scores grow: m for its keys times m for the softmax."""
    lengths = key_positions.amax(1) + 1
    if not settings.temperature:
        return torch.ones_like(lengths, dtype=torch.float64)
    ratio = lengths.double() / settings.original_max_position_embeddings
    return (0.1 * torch.log(ratio) + 1).clamp(min=1.0).square()


def _scores(queries: list[Tensor], keys: Tensor, gap: Tensor, allowed: Tensor) -> Tensor:
    """(B, K, g, t, n): each pair's score by the query position that its chunks' gap calls for."""
    scores = None
    for kind, query in enumerate(queries):
        chosen = allowed & (gap == kind if kind < 2 else gap >= kind)
        if bool(chosen.any()):
            part = torch.matmul(query, keys[:, :, None].transpose(-1, -2))
            scores = part if scores is None else part.where(chosen[:, None, None], scores)
    return scores.masked_fill(~allowed[:, None, None], -math.inf)


class _Softmax:
    """A softmax's weighted mean of values, over blocks of keys that come one after another."""

    def __init__(self) -> None:
        self.mean: Tensor | None = None
        self.log_sum: Tensor | None = None

    def add(self, scores: Tensor, values: Tensor) -> None:
        """scores (..., t, n), -inf for what is not seen; values (..., n, h)."""
        log_sum = scores.logsumexp(-1, keepdim=True)
        # A query that sees none of this block has no mean here: 0, with weight exp(-inf).
        probs = torch.exp(scores - log_sum.masked_fill(log_sum == -math.inf, 0.0))
        mean = torch.matmul(probs, values)
        if self.mean is None:
            self.mean, self.log_sum = mean, log_sum
            return
        both = torch.logaddexp(self.log_sum, log_sum)
        finite = both.masked_fill(both == -math.inf, 0.0)
        self.mean = self.mean * torch.exp(self.log_sum - finite) + mean * torch.exp(
            log_sum - finite
        )
        self.log_sum = both

    def result(self) -> Tensor:
        return self.mean


def relative_positions(length: int, settings: DualChunk) -> Tensor:
    """(length, length) the distance at which query i sees key j, by definition; -1 for j > i."""
    at = torch.arange(length)
    by_gap = torch.stack(settings.query_positions(at))
    gap = (at[:, None] // settings.chunk_length - at // settings.chunk_length).clamp(0, 2)
    distance = by_gap[gap, at[:, None]] - at % settings.chunk_length
    return distance.where(at[:, None] >= at, -1)
