"""Vertical-slash sparse attention for reading long prompts (MInference, arXiv 2407.02490).

Most of a long prompt's attention falls on a few keys that everybody looks at (vertical lines of the
matrix) and on a few distances (slashes). They are found for each head from the last queries, and
only they are computed, as Qwen2.5-1M does (arXiv 2501.15383, section 4.2). How much of a head's
attention that covers is its recall; a head that lacks it is given more (section 4.2.3 there calls
it sparsity refinement; `align.model.sparse_calibration`).

Shape letters: B batch, T tokens, H query heads, K key/value heads, h head_dim.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from align.model.errors import ModelConfigError

BLOCK = 64  # queries whose keys are gathered together


@dataclass(frozen=True)
class VerticalSlash:
    """`sparse_attention_config`.

    vertical, slash: keys and distances kept a head; `heads` overrides them, as a list a layer (its
    number as text) of [vertical, slash] a head. last_queries: those that the estimate is made of.
    sinks, local: the first keys and the shortest distances, always kept. threshold: prompts of no
    more tokens are read densely. Defaults: MInference's budgets, vLLM's constants for Qwen2.5-1M.
    """

    vertical: int = 1000
    slash: int = 6096
    last_queries: int = 64
    sinks: int = 30
    local: int = 100
    threshold: int = 32_768
    heads: dict[str, list[list[int]]] | None = None

    @classmethod
    def from_config(cls, given: dict[str, Any]) -> "VerticalSlash":
        """Raises ModelConfigError for an unknown field or a budget that keeps nothing."""
        name = "sparse_attention_config"
        known = {field.name for field in fields(cls)}
        if set(given) - known:
            unknown = ", ".join(sorted(set(given) - known))
            raise ModelConfigError(f"{name} has unknown {unknown}; known: {', '.join(known)}")
        made = cls(**given)
        for field in ("vertical", "slash", "last_queries", "local"):
            if getattr(made, field) < 1:
                raise ModelConfigError(
                    f"{name}: {field} {getattr(made, field)}: expected 1 or more"
                )
        return made

    def budgets(self, layer: int, heads: int) -> list[tuple[int, int]]:
        """(vertical, slash) of each head of a layer. Raises ModelConfigError for other numbers."""
        listed = (self.heads or {}).get(str(layer))
        if listed is None:
            return [(self.vertical, self.slash)] * heads
        if len(listed) != heads:
            raise ModelConfigError(
                f"sparse_attention_config: heads of layer {layer} has {len(listed)} budgets, the "
                f"layer has {heads} heads"
            )
        return [(vertical, slash) for vertical, slash in listed]


def vertical_slash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    settings: VerticalSlash,
    layer: int,
    scaling: float,
    key_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Causal attention of a text to itself over the kept entries alone.

    query (B, H, T, h), key and value (B, K, T, h), turned; key_mask (B, T), False for padding.
    Returns (B, T, H, h), and the log of each query's sum of exponentials, (B, H, T).
    """
    batch, heads, length, _ = query.shape
    group = heads // key.shape[1]
    out = torch.empty_like(query)
    log_sums = query.new_empty(batch, heads, length, dtype=_wide(query))
    budgets = settings.budgets(layer, heads)
    for row in range(batch):
        real = key_mask[row] if key_mask is not None else key.new_ones(length, dtype=torch.bool)
        for head, budget in enumerate(budgets):
            q, k, v = query[row, head], key[row, head // group], value[row, head // group]
            columns, distances = select(q, k, budget, settings, scaling, real)
            kept = _attend(q, k, v, columns, distances, scaling, real)
            out[row, head], log_sums[row, head] = kept
    return out.transpose(1, 2), log_sums


def select(
    query: Tensor,
    key: Tensor,
    budget: tuple[int, int],
    settings: VerticalSlash,
    scaling: float,
    real: Tensor,
) -> tuple[Tensor, Tensor]:
    """Which keys and which distances a head keeps: two (T,) of bool, from query, key (T, h)."""
    length, last = len(key), min(settings.last_queries, len(query))
    device = key.device
    at = torch.arange(length - last, length, device=device)
    distance = at[:, None] - torch.arange(length, device=device)
    seen = (distance >= 0) & real
    scores = (query[-last:] @ key.T).float() * scaling
    probs = scores.masked_fill(~seen, -math.inf).softmax(-1).nan_to_num(0.0)
    by_key = probs.sum(0)
    by_distance = probs.new_zeros(length)
    by_distance.scatter_add_(0, distance.clamp(min=0).flatten(), (probs * seen).flatten())
    first = real.long().cumsum(0) <= settings.sinks
    by_key[first & real] = math.inf
    by_distance[: settings.local] = math.inf
    vertical, slash = budget
    return (
        _largest(by_key, max(vertical, settings.sinks)),
        _largest(by_distance, max(slash, settings.local)),
    )


def _largest(scores: Tensor, number: int) -> Tensor:
    chosen = scores.topk(min(number, len(scores))).indices
    return torch.zeros_like(scores, dtype=torch.bool).index_fill_(0, chosen, True)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    columns: Tensor,
    distances: Tensor,
    scaling: float,
    real: Tensor,
) -> tuple[Tensor, Tensor]:
    """One head's (T, h) output and (T,) log-sums; a block of queries gathers the keys it needs."""
    length = len(key)
    at = torch.arange(length, device=key.device)
    # How many kept distances are below each: a range holds one where this differs at its ends.
    below = torch.cat([distances.new_zeros(1, dtype=torch.long), distances.long().cumsum(0)])
    outputs, log_sums = [], []
    for start in range(0, len(query), BLOCK):
        block = slice(start, min(start + BLOCK, len(query)))
        nearest = (start - at[: block.stop]).clamp(min=0)
        farthest = block.stop - 1 - at[: block.stop]
        on_slash = below[farthest + 1] > below[nearest]
        needed = ((columns[: block.stop] | on_slash) & real[: block.stop]).nonzero()[:, 0]
        distance = at[block, None] - needed
        kept = (columns[needed] | distances[distance.clamp(min=0)]) & (distance >= 0)
        scores = (query[block] @ key[needed].T).to(_wide(query)) * scaling
        scores = scores.masked_fill(~kept, -math.inf)
        log_sum = scores.logsumexp(-1)
        probs = torch.exp(scores - log_sum.nan_to_num(neginf=0.0)[:, None])
        outputs.append(probs.to(value.dtype) @ value[needed])
        log_sums.append(log_sum)
    return torch.cat(outputs), torch.cat(log_sums)


def _wide(x: Tensor) -> torch.dtype:
    """What softmax is computed in: fp32, or fp64 for fp64."""
    return torch.promote_types(x.dtype, torch.float32)


def recall(query: Tensor, key: Tensor, log_sums: Tensor, scaling: float) -> Tensor:
    """(H,) the share of a text's attention that `log_sums` (H, T) covers, mean over its queries.

    query (H, T, h), key (K, T, h), without padding: exp(log_sums - those of all earlier keys).
    """
    heads, length, _ = query.shape
    key = key.repeat_interleave(heads // len(key), 0)
    total = query.new_zeros(heads, dtype=torch.float32)
    for start in range(0, length, 512):
        block = slice(start, min(start + 512, length))
        scores = (query[:, block] @ key[:, : block.stop].transpose(-1, -2)).float() * scaling
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=key.device).triu(start + 1)
        whole = scores.masked_fill_(later, -math.inf).logsumexp(-1)
        total += torch.exp(log_sums[:, block] - whole).sum(-1)
    return total / length
