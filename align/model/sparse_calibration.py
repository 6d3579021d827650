"""Sparsity refinement: heads whose kept entries cover too little attention are given more.

Qwen2.5-1M report (arXiv 2501.15383, section 4.2.3). Done once, on a few long texts like those to be
read; the budgets found go into `sparse_attention_config["heads"]`.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from align.model.attention import QwenAttention
from align.model.modeling import QwenForCausalLM
from align.model.rope import rotate
from align.model.sparse import VerticalSlash, recall, vertical_slash_attention


@dataclass(frozen=True)
class Refined:
    """heads: budgets a layer, as `sparse_attention_config["heads"]` has them; before, after: the
    least recall of each head over the texts, (layers, heads)."""

    heads: dict[str, list[list[int]]]
    before: Tensor
    after: Tensor


@torch.no_grad()
def refine(
    model: QwenForCausalLM, texts: list[Tensor], settings: VerticalSlash, *, least: float = 0.9
) -> Refined:
    """Double the budgets of each head until its recall on every text (T,) of tokens is `least`."""
    seen: list[list[tuple[Tensor, Tensor]]] = [[] for _ in model.model.layers]
    hooks = [
        layer.self_attn.register_forward_pre_hook(_keeper(kept), with_kwargs=True)
        for layer, kept in zip(model.model.layers, seen, strict=True)
    ]
    try:
        for text in texts:
            model.model(text[None], use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    longest = max(len(text) for text in texts)
    heads, before, after = {}, [], []
    for layer, pairs in enumerate(seen):
        budgets, first, last = _refine_layer(pairs, settings, layer, least, longest)
        heads[str(layer)] = budgets
        before.append(first)
        after.append(last)
    return Refined(heads, torch.stack(before), torch.stack(after))


def _keeper(kept: list[tuple[Tensor, Tensor]]) -> Any:
    """Remembers the turned queries (H, T, h) and keys (K, T, h) of each text."""

    def hook(module: QwenAttention, args: tuple, kwargs: dict[str, Any]) -> None:
        query, key, _ = module.heads(args[0] if args else kwargs["x"])
        angles = kwargs["position_embeddings"]
        kept.append((rotate(query, *angles)[0], rotate(key, *angles)[0]))

    return hook


def _refine_layer(
    pairs: list[tuple[Tensor, Tensor]],
    settings: VerticalSlash,
    layer: int,
    least: float,
    longest: int,
) -> tuple[list[list[int]], Tensor, Tensor]:
    budgets = [list(budget) for budget in settings.budgets(layer, len(pairs[0][0]))]
    first = None
    while True:
        tried = replace(settings, heads={str(layer): budgets}, threshold=0)
        found = _least_recall(pairs, tried, layer)
        first = found if first is None else first
        short = [
            head
            for head, covered in enumerate(found.tolist())
            if covered < least and min(budgets[head]) < longest
        ]
        if not short:
            return budgets, first, found
        for head in short:
            budgets[head] = [min(2 * number, longest) for number in budgets[head]]


def _least_recall(
    pairs: list[tuple[Tensor, Tensor]], settings: VerticalSlash, layer: int
) -> Tensor:
    covered = []
    for query, key in pairs:
        scaling = query.shape[-1] ** -0.5
        _, log_sums = vertical_slash_attention(
            query[None], key[None], key[None], settings=settings, layer=layer, scaling=scaling
        )
        covered.append(recall(query, key, log_sums[0], scaling))
    return torch.stack(covered).amin(0)
