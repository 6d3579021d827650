"""Supervised fine-tuning: TRL's SFTTrainer, loss on the completion alone."""

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from align.stages import tables, trainer
from align.stages.job import Job, Outcome
from align.stages.models import load_tokenizer
from align.train import BalancedTraining, GuardedTraining

COLUMNS = ("prompt", "completion")


class GuardedSFTTrainer(GuardedTraining, BalancedTraining, SFTTrainer):
    pass


def run(job: Job) -> Outcome:
    model = job.path(job.config.model)
    rows = tables.training_rows(job, COLUMNS)
    sft = GuardedSFTTrainer(
        model=str(model),
        args=trainer.arguments(job, SFTConfig),
        train_dataset=Dataset.from_list([{c: row[c] for c in COLUMNS} for row in rows]),
        processing_class=load_tokenizer(model),
    )
    trainer.train(job, sft, shown=("loss", "mean_token_accuracy"))
    facts = trainer.save(job, sft)
    kept = len(sft.train_dataset)
    return Outcome(
        rows={
            "kept": kept,
            "dropped": {"nothing left to train on": len(rows) - kept},
            **trainer.repeated(job, sft),
        },
        metrics={"loss": trainer.last(sft, "loss")},
        facts=facts,
    )
