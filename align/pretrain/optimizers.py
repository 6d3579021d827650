"""The optimizers of pretraining and their schedule."""

import math

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from align.errors import AlignError

FINAL_LR_SHARE = 0.1
"""The cosine ends at this part of the peak learning rate."""


def build_optimizers(
    model: nn.Module, kind: str, *, lr: float, muon_lr: float, weight_decay: float
) -> list[Optimizer]:
    """`adamw` for everything, or `muon` for the hidden matrices and AdamW for the rest.

    AdamW has betas 0.9 and 0.95, and decays matrices only. Muon orthogonalises the update of a
    matrix that maps hidden states to hidden states; embeddings and the head are no such maps
    (Jordan 2024, https://kellerjordan.github.io/posts/muon/), and stay with AdamW. Each group
    remembers its peak learning rate as `initial_lr`. Raises `AlignError` for another kind.
    """
    if kind not in ("adamw", "muon"):
        raise AlignError(f"unknown optimizer {kind!r}; use 'adamw' or 'muon'")
    trained = [p for p in model.parameters() if p.requires_grad]
    hidden = {id(p) for p in _hidden_matrices(model)} if kind == "muon" else set()
    by_muon = [p for p in trained if id(p) in hidden]
    rest = [p for p in trained if id(p) not in hidden]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizers: list[Optimizer] = [AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)]
    if by_muon:
        optimizers.append(Muon(by_muon, lr=muon_lr, weight_decay=weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def lr_share(step: int, total_steps: int, warmup_steps: int) -> float:
    """Part of the peak learning rate at a step counted from 0.

    Linear from 1/warmup_steps to 1 over the warm-up, then a cosine that reaches 10 % at the last
    step, as in the Qwen technical report (arXiv 2309.16609, section 2.4).
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
    return FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def set_lr(optimizers: list[Optimizer], share: float) -> None:
    """Give every group `share` of its peak learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share


def _hidden_matrices(model: nn.Module) -> list[torch.nn.Parameter]:
    outer = {
        id(p)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for p in module.parameters()
    }
    head = model.get_output_embeddings()
    if head is not None:
        outer.update(id(p) for p in head.parameters())
    return [p for p in model.parameters() if p.ndim == 2 and id(p) not in outer]
