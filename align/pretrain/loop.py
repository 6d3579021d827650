"""The pretraining loop: packed rows in, weights out, resumed exactly wherever it was killed."""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from align.errors import AlignError
from align.model import QwenMoeConfig
from align.model.balance import balances
from align.pretrain.optimizers import build_optimizers, lr_share, set_lr
from align.pretrain.packing import IGNORED, Packed

CHECKPOINT = "pretrain.pt"

OnStep = Callable[[int, int, float, float], None]
"""Called after each step as on_step(step, total_steps, loss, tokens_per_second)."""


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of pretraining."""

    epochs: float = 1.0
    """Passes over the rows; a part of one is allowed."""
    max_steps: int | None = None
    """Optimizer steps, instead of `epochs`."""
    batch_rows: int = 16
    """Rows of one optimizer step, over all processes."""
    optimizer: str = "muon"
    """`muon` for the hidden matrices with AdamW for the rest, or `adamw` for everything."""
    lr: float = 1e-2
    """Peak learning rate of AdamW; with Muon beside it, it moves little but the embeddings."""
    muon_lr: float = 0.02
    """Peak learning rate of Muon."""
    weight_decay: float = 0.1
    """Decoupled weight decay of matrices."""
    warmup_steps: int = 20
    """Steps of linear warm-up before the cosine to 10 %."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this Euclidean norm."""
    bf16: bool = True
    """Compute in bfloat16 by autocast; weights stay in float32."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    seed: int = 0
    """Seed of the order of the rows."""

    def total_steps(self, num_rows: int) -> int:
        """Optimizer steps on `num_rows` rows."""
        if self.max_steps is not None:
            return self.max_steps
        return math.ceil(self.epochs * num_rows / self.batch_rows)


def pretrain(
    model: nn.Module,
    rows: Packed,
    config: PretrainConfig,
    checkpoint_dir: Path,
    *,
    accelerator: Accelerator | None = None,
    on_step: OnStep | None = None,
) -> list[dict[str, float]]:
    """Train `model` in place and return its history, a row a step: step, loss, lr share.

    The loss is the mean of the global batch's labels, in nats. Goes on from the checkpoint in
    `checkpoint_dir` if there is one, and ends with the same weights as a run never stopped.
    Under several processes each takes its slice of every batch. Raises `AlignError` for
    settings that do not fit the rows, the processes or the checkpoint, and
    `AlignError` too when the loss is not finite.
    """
    accelerator = accelerator or Accelerator()
    _check(rows, config, accelerator.num_processes)
    total_steps = config.total_steps(len(rows))
    model.to(accelerator.device).train()
    optimizers = build_optimizers(
        model,
        config.optimizer,
        lr=config.lr,
        muon_lr=config.muon_lr,
        weight_decay=config.weight_decay,
    )
    checkpoint = checkpoint_dir / CHECKPOINT
    identity = _identity(rows, config)
    history = _load(checkpoint, identity, model, optimizers)
    parallel = accelerator.prepare_model(model)
    for step in range(len(history), total_steps):
        started = time.perf_counter()
        share = lr_share(step, total_steps, config.warmup_steps)
        indices = _slice(batch_indices(step, len(rows), config), accelerator)
        loss = train_step(parallel, optimizers, rows, indices, share, config, accelerator)
        if not math.isfinite(loss):
            raise AlignError(
                f"loss is {loss} at step {step + 1} of {total_steps}; lower lr ({config.lr}) or "
                f"muon_lr ({config.muon_lr}), or lengthen warmup_steps ({config.warmup_steps})"
            )
        load = {name: v for each in balances(model) for name, v in each.metrics().items()}
        history.append({"step": step + 1, "loss": loss, "lr_share": share, **load})
        if on_step is not None:
            tokens = config.batch_rows * rows.input_ids.shape[1]
            on_step(step + 1, total_steps, loss, tokens / (time.perf_counter() - started))
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == total_steps:
            if accelerator.is_main_process:
                _save(checkpoint, identity, model, optimizers, history)
            accelerator.wait_for_everyone()
    return history


def train_step(
    model: nn.Module,
    optimizers: list[Optimizer],
    rows: Packed,
    indices: np.ndarray,
    share: float,
    config: PretrainConfig,
    accelerator: Accelerator,
) -> float:
    """One optimizer step on the rows at `indices` (this process's); the global mean loss."""
    device = accelerator.device
    input_ids_BT = torch.from_numpy(rows.input_ids[indices]).long().to(device)
    position_ids_BT = torch.from_numpy(rows.position_ids[indices]).long().to(device)
    labels_BT = torch.from_numpy(rows.labels[indices]).long().to(device)
    num_labels = accelerator.reduce((labels_BT[:, 1:] != IGNORED).sum())

    set_lr(optimizers, share)
    for balance in balances(model):
        balance.reset()
    mixture = accelerator.unwrap_model(model).config
    mixture = mixture if isinstance(mixture, QwenMoeConfig) else None
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        # no mask and no cache: only then do restarting positions keep packed documents apart
        outputs = model(
            input_ids=input_ids_BT,
            position_ids=position_ids_BT,
            use_cache=False,
            **({"output_router_logits": True} if mixture else {}),
        )
    loss = _summed_loss(outputs.logits, labels_BT) / num_labels
    # DDP averages the gradients over the processes, where the global mean needs their sum
    total = loss * accelerator.num_processes
    if mixture:
        total = total + mixture.router_aux_loss_coef * outputs.aux_loss
    total.backward()
    nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return accelerator.reduce(loss.detach()).item()


def batch_indices(step: int, num_rows: int, config: PretrainConfig) -> np.ndarray:
    """Rows of the global batch at a step; a function of the step alone, so a resumed run agrees.

    The rows are the stream of one seeded permutation an epoch, cut into batches, so every row
    is seen once in each epoch even where a batch lies across two.
    """
    places = np.arange(step * config.batch_rows, (step + 1) * config.batch_rows)
    orders = {
        epoch: np.random.default_rng([config.seed, epoch]).permutation(num_rows)
        for epoch in np.unique(places // num_rows)
    }
    return np.array([orders[place // num_rows][place % num_rows] for place in places])


def _slice(indices: np.ndarray, accelerator: Accelerator) -> np.ndarray:
    return np.split(indices, accelerator.num_processes)[accelerator.process_index]


def _summed_loss(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    vocab_size = logits_BTV.shape[-1]
    return F.cross_entropy(
        logits_BTV[:, :-1].reshape(-1, vocab_size).float(),
        labels_BT[:, 1:].reshape(-1),
        ignore_index=IGNORED,
        reduction="sum",
    )


def _check(rows: Packed, config: PretrainConfig, num_processes: int) -> None:
    if len(rows) == 0:
        raise AlignError("no rows to train on; the corpus is empty")
    if config.batch_rows % num_processes:
        raise AlignError(
            f"batch_rows {config.batch_rows} does not divide among {num_processes} processes"
        )
    for name in ("batch_rows", "checkpoint_every"):
        if getattr(config, name) < 1:
            raise AlignError(f"{name} must be at least 1, got {getattr(config, name)}")


def _identity(rows: Packed, config: PretrainConfig) -> str:
    """What a checkpoint must agree on to be gone on from: the settings and the rows."""
    digest = hashlib.sha256(json.dumps(asdict(config)).encode())
    for array in (rows.input_ids, rows.position_ids, rows.labels):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _save(
    path: Path,
    identity: str,
    model: nn.Module,
    optimizers: list[Optimizer],
    history: list[dict[str, float]],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    state = {
        "identity": identity,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "history": history,
    }
    torch.save(state, unfinished)
    os.replace(unfinished, path)  # so that a file of this name is always whole


def _load(
    path: Path, identity: str, model: nn.Module, optimizers: list[Optimizer]
) -> list[dict[str, float]]:
    """Restore model and optimizers in place, if there is a checkpoint; the history until then."""
    if not path.exists():
        return []
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["identity"] != identity:
        raise AlignError(
            f"{path} was written under other settings or on other rows; delete it to start anew"
        )
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["history"]
