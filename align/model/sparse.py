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

NAME = "sparse_attention_config"
BLOCK = 64  # queries whose keys are gathered together
_LEAST = {"vertical": 1, "slash": 1, "last_queries": 1, "sinks": 0, "local": 1, "threshold": 0}


@dataclass(frozen=True)
class VerticalSlash:
    """`sparse_attention_config`.

    vertical, slash: keys and distances kept a head; `heads` overrides them, as a list a layer (its
    number as text) of [vertical, slash] a head. last_queries: those that the estimate is made of.
    sinks, local: the first keys and the shortest distances, always kept. threshold: prompts of no
    more tokens are read with all keys. Defaults: MInference's budgets, and vLLM's constants for
    Qwen2.5-1M.
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
        """Raises ModelConfigError for an unknown field or a number that makes no sense."""
        known = {field.name for field in fields(cls)}
        if set(given) - known:
            unknown = ", ".join(sorted(set(given) - known))
            raise ModelConfigError(f"{NAME} has unknown {unknown}; known: {', '.join(known)}")
        made = cls(**given)
        for field, least in _LEAST.items():
            if not _is_number(getattr(made, field), least):
                raise ModelConfigError(
                    f"{NAME}: {field} {getattr(made, field)!r}: expected a whole number of {least} "
                    "or more"
                )
        if made.heads is not None:
            _check_heads(made.heads)
        return made

    def budgets(self, layer: int, heads: int) -> list[tuple[int, int]]:
        """(vertical, slash) of each head of a layer. Raises ModelConfigError for other numbers."""
        listed = (self.heads or {}).get(str(layer))
        if listed is None:
            return [(self.vertical, self.slash)] * heads
        if len(listed) != heads:
            raise ModelConfigError(
                f"{NAME}: heads of layer {layer} has {len(listed)} budgets, the layer has {heads} "
                "heads"
            )
        return [(vertical, slash) for vertical, slash in listed]

    def check(self, layers: int, heads: int) -> None:
        """Raises ModelConfigError where `heads` names other layers or heads than the model has."""
        for layer in self.heads or {}:
            if int(layer) >= layers:
                raise ModelConfigError(
                    f"{NAME}: heads has the layer {layer!r}: the model has {layers} layers, "
                    "counted from 0"
                )
            self.budgets(int(layer), heads)


def _is_number(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def _check_heads(heads: Any) -> None:
    if not isinstance(heads, dict):
        raise ModelConfigError(f"{NAME}: heads {heads!r}: expected a list for each layer's number")
    for layer, listed in heads.items():
        # As `budgets` writes it: "01" would be found by nobody.
        if not (isinstance(layer, str) and layer.isdecimal() and layer == str(int(layer))):
            raise ModelConfigError(f"{NAME}: heads has the layer {layer!r}: expected its number")
        for budget in listed if isinstance(listed, list) else [listed]:
            pair = isinstance(budget, list | tuple) and len(budget) == 2
            if not pair or not all(_is_number(number, 1) for number in budget):
                raise ModelConfigError(
                    f"{NAME}: heads of layer {layer} has {budget!r}: expected [vertical, slash], "
                    "whole numbers of 1 or more"
                )


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

    query (B, H, T, h), key and value (B, K, T, h), turned; key_mask (B, T), False for padding: a
    row is read as if it had none. Returns (B, T, H, h), and the log of each query's sum of
    exponentials, (B, H, T); 0 and -inf for padding.
    """
    batch, heads, length, _ = query.shape
    group = heads // key.shape[1]
    out = torch.zeros_like(query)
    log_sums = query.new_full((batch, heads, length), -math.inf, dtype=_wide(query))
    for row in range(batch):
        at = slice(None) if key_mask is None else key_mask[row].nonzero()[:, 0]
        for head, budget in enumerate(settings.budgets(layer, heads)):
            q, (k, v) = query[row, head, at], (x[row, head // group, at] for x in (key, value))
            if len(k) <= settings.threshold:
                budget = (len(k), len(k))
            chosen = select(q, k, budget, settings, scaling)
            kept = _attend(q, k, v, *chosen, scaling)
            out[row, head, at], log_sums[row, head, at] = kept
    return out.transpose(1, 2), log_sums


def select(
    query: Tensor, key: Tensor, budget: tuple[int, int], settings: VerticalSlash, scaling: float
) -> tuple[Tensor, Tensor]:
    """Which keys and which distances a head keeps: two (T,) of bool, from query, key (T, h)."""
    length, last = len(key), min(settings.last_queries, len(query))
    at = torch.arange(length, device=key.device)
    distance = at[length - last :, None] - at
    scores = (query[length - last :] @ key.T).float() * scaling
    probs = scores.masked_fill(distance < 0, -math.inf).softmax(-1)
    by_key = probs.sum(0)
    by_distance = probs.new_zeros(length)
    by_distance.scatter_add_(0, distance.clamp(min=0).flatten(), probs.flatten())
    by_key[: settings.sinks] = math.inf
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
    query: Tensor, key: Tensor, value: Tensor, columns: Tensor, distances: Tensor, scaling: float
) -> tuple[Tensor, Tensor]:
    """One head's (T, h) output and (T,) log-sums; a block of queries gathers the keys it needs.

    A block's queries are taken from the last to the first: then each one's kept distances, laid
    over the keys, are those of the one before it moved by a place, and no mask is built for them.
    """
    length, wide = len(key), _wide(query)
    at = torch.arange(length, device=key.device)
    # From the longest distance down to 0; what would be later keys is not kept.
    falling = torch.cat([distances.flip(0), distances.new_zeros(BLOCK)])
    # The same for a whole block: whether any of its queries keeps the distance to a key.
    of_block = falling.unfold(0, BLOCK, 1).any(1)
    query, key, value = query.to(wide) * scaling, key.to(wide), value.to(wide)
    outputs, log_sums = torch.empty_like(query), query.new_empty(length)
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        queries, first = at[start:stop].flip(0), length - stop
        slashes = falling[first : length + len(queries) - 1].unfold(0, stop, 1)
        needed = (columns[:stop] | of_block[first:length]).nonzero()[:, 0]
        # Where most keys are needed, gathering them costs more than the others' scores.
        picked = needed if 2 * len(needed) < stop else slice(0, stop)
        kept = (slashes[:, picked] | columns[picked]) & (at[picked] <= queries[:, None])
        scores = (query[queries] @ key[picked].T).masked_fill_(~kept, -math.inf)
        top = scores.amax(-1, keepdim=True)  # finite: a query keeps at least itself
        weights = scores.sub_(top).exp_()
        total = weights.sum(-1, keepdim=True)
        outputs[queries] = weights @ value[picked] / total
        log_sums[queries] = (top + total.log())[:, 0]
    return outputs, log_sums


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
