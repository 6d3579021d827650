"""Guards of a training run: stop before NaN reaches the weights, resume from whole checkpoints."""

import json
import math
import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from align.errors import AlignError

MARKER = "complete.json"


class DivergedError(AlignError):
    """Training was stopped because its loss or gradient is no finite number.

    Attributes: `step` (the optimizer step that was not taken, from 1), `what` (what is not finite),
    `last_finite_loss` (of the micro-batch before; None at the first).
    """

    def __init__(self, step: int, what: str, last_finite_loss: float | None):
        self.step, self.what, self.last_finite_loss = step, what, last_finite_loss
        before = "there was none before" if last_finite_loss is None else f"{last_finite_loss:.6g}"
        super().__init__(
            f"training diverged at step {step}: {what}; last finite loss: {before}. The step was"
            " not taken, and the weights are finite. Resume from the last checkpoint with a lower"
            " learning rate, a longer warm-up or a smaller max_grad_norm; if it stops at the same"
            " step again, look at the rows of that batch"
        )


class GuardedTraining:
    """Mix in before a transformers or TRL trainer: `class Guarded(GuardedTraining, DPOTrainer)`.

    A plain trainer shows a NaN loss as 0.0 in its log and takes the step, after which every weight
    is NaN. This one raises `DivergedError` between the backward pass and the step. Gradients are
    not looked at under fp16 loss scaling, where infinities are usual and the scaler skips the step,
    nor under DeepSpeed, which keeps them to itself; the loss always is.
    """

    _last_finite_loss: float | None = None

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(
                self.state.global_step + 1, f"the loss is {value}", self._last_finite_loss
            )
        if self.accelerator.sync_gradients and self.accelerator.scaler is None:
            broken = broken_gradients(model)
            if broken:
                what = (
                    f"the loss is {value:.6g}, but the gradients of {len(broken)} parameters are"
                    f" NaN or infinite, first {broken[0]}"
                )
                raise DivergedError(self.state.global_step + 1, what, self._last_finite_loss)
        self._last_finite_loss = value
        return loss


def broken_gradients(model: torch.nn.Module) -> list[str]:
    """Names of the parameters whose gradient holds NaN or infinity. Every rank has to call it."""
    named = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    total = torch.nn.utils.get_total_norm([grad for _, grad in named])
    if isinstance(total, DTensor):
        total = total.full_tensor()
    if math.isfinite(total.item()):
        return []
    norms = {name: torch.linalg.vector_norm(grad) for name, grad in named}
    norms = {n: v.full_tensor() if isinstance(v, DTensor) else v for n, v in norms.items()}
    return [n for n, v in norms.items() if not math.isfinite(v.item())] or ["all of them together"]


class CheckpointMarker(TrainerCallback):
    """Marks each checkpoint that was written to its end, for `complete_checkpoint`.

    A trainer writes a checkpoint file by file, so one that was killed meanwhile leaves a folder
    that looks like a checkpoint. The marker is written last, and lists the files with their sizes,
    so a folder that was killed while being *deleted* (by save_total_limit) does not pass either.
    With save_total_limit=1 the old checkpoint goes before the new one is marked: keep 2.
    """

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # A save from here on may overwrite a checkpoint of an earlier run in the same folder.
        if args.should_save:
            (_folder(args, state) / MARKER).unlink(missing_ok=True)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # each rank writes files of its own
        if args.should_save:
            folder = _folder(args, state)
            scratch = folder / f"{MARKER}.tmp"
            scratch.write_text(json.dumps(_sizes(folder), indent=1), encoding="utf-8")
            os.replace(scratch, folder / MARKER)


def complete_checkpoint(folder: str | Path) -> Path | None:
    """The newest checkpoint under a trainer's output folder that `CheckpointMarker` marked whole.

    None if there is none. Newer ones that are not whole are passed over with a warning; training
    overwrites them when it gets there again.
    """
    steps = {}
    for path in Path(folder).glob("checkpoint-*"):
        match = re.fullmatch(r"checkpoint-(\d+)", path.name)
        if match and path.is_dir():
            steps[int(match[1])] = path
    for _, path in sorted(steps.items(), reverse=True):
        if _is_whole(path):
            return path
        warnings.warn(f"{path} was not written to its end and is passed over", stacklevel=2)
    return None


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _sizes(folder: Path) -> dict[str, int]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    return {name: size for name, size in sizes.items() if not name.startswith(MARKER)}


def _is_whole(folder: Path) -> bool:
    marker = folder / MARKER
    if not marker.is_file():
        return False
    found = _sizes(folder)
    listed = json.loads(marker.read_text(encoding="utf-8"))
    return all(found.get(name) == size for name, size in listed.items())
