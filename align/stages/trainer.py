"""What every stage on a TRL trainer shares: its arguments, resume, progress, and saving."""

from pathlib import Path
from typing import Any

from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from align.stages.job import Job, StageError
from align.stages.models import on_cpu, saved_facts
from align.train import CheckpointMarker, complete_checkpoint

HIDDEN = ("total_flos", "train_runtime", "train_samples_per_second", "train_steps_per_second")


def arguments(job: Job, config_class: type[TrainingArguments], **defaults: Any) -> Any:
    """The trainer's arguments: the recipe's `args:` over our defaults over TRL's.

    Raises StageError for values that TRL's class refuses together.
    """
    ours = {
        "output_dir": str(job.work / "trainer"),
        "seed": job.seed,
        "use_cpu": on_cpu(),
        "bf16": False if on_cpu() else None,  # None: TRL's rule, bf16 unless fp16 is set
        "ddp_backend": "gloo" if on_cpu() and job.num_processes > 1 else None,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would log a NaN loss as 0.0
        "save_total_limit": 2,  # the older one serves if the newer was being written when killed
    }
    try:
        return config_class(**{**ours, **defaults, **job.config.args})
    except ValueError as error:  # each argument fits its type, but not the others
        raise StageError(f"stage '{job.name}', args: {error}") from None


class _Show(TrainerCallback):
    """Hands each log line to the stage's progress line."""

    def __init__(self, job: Job, shown: tuple[str, ...]):
        self.job, self.shown = job, shown

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, logs=None, **_: Any):
        values = {key.rpartition("/")[2]: logs[key] for key in self.shown if key in (logs or {})}
        self.job.progress(state.global_step, state.max_steps, **values)


def train(job: Job, trainer: Trainer, shown: tuple[str, ...] = ("loss",)) -> None:
    """Train from the last complete checkpoint of this stage, if there is one, to the end."""
    trainer.remove_callback(PrinterCallback)
    for callback in (CheckpointMarker(), _Show(job, shown)):
        trainer.add_callback(callback)
    checkpoint = complete_checkpoint(Path(trainer.args.output_dir))
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.state.global_step < trainer.state.max_steps:
        # The trainer gives no more than a warning when its data do not fill one batch.
        raise StageError(
            f"stage '{job.name}': trained {trainer.state.global_step} of {trainer.state.max_steps} "
            f"steps, for {len(trainer.train_dataset)} rows do not fill a batch; give more rows, or "
            "lower per_device_train_batch_size or gradient_accumulation_steps"
        )
    job.write_curve(curve(trainer))


def repeated(job: Job, trainer: Trainer) -> dict[str, int]:
    """Rows that several processes see twice an epoch: the last batch is filled up with them."""
    batch = trainer.args.per_device_train_batch_size * job.num_processes
    number = -len(trainer.train_dataset) % batch if job.num_processes > 1 else 0
    return {"repeated to fill the last batch": number} if number else {}


def curve(trainer: Trainer) -> list[dict[str, float]]:
    """The trainer's log as points for the report."""
    return [
        {k: v for k, v in entry.items() if k not in HIDDEN and isinstance(v, int | float)}
        for entry in trainer.state.log_history
    ]


def save(job: Job, trainer: Trainer) -> dict[str, Any]:
    """Write the model into the artifact and return its facts for the manifest."""
    config = trainer.model.config
    config.use_cache = True  # training switches it off; sampling without it crawls
    if hasattr(config, "output_router_logits"):  # and this on, which transformers can't sample with
        config.output_router_logits = False
    trainer.save_model(str(job.output))  # on every rank: sharded weights are gathered here
    return saved_facts(trainer.processing_class, job.output) if job.is_main else {}


def last(trainer: Trainer, name: str, over: int = 10) -> float:
    """Mean of the last logged values of a metric; NaN if it was never logged."""
    values = [entry[name] for entry in trainer.state.log_history if name in entry][-over:]
    return sum(values) / len(values) if values else float("nan")
