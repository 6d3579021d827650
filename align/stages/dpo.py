"""Offline DPO: TRL's DPOTrainer, under AdamW or the Online Merging Optimizer."""

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from align.stages import tables, trainer
from align.stages.job import Job, Outcome
from align.stages.models import check_same_tokens, load_tokenizer
from align.train import BalancedTraining, GuardedTraining, use_online_merging

COLUMNS = ("prompt", "chosen", "rejected")


class GuardedDPOTrainer(GuardedTraining, BalancedTraining, DPOTrainer):
    pass


def run(job: Job) -> Outcome:
    config, model = job.config, job.path(job.config.model)
    rows = tables.training_rows(job, COLUMNS)
    # Given by path, the trainer loads its reference from the same folder: the model before DPO.
    dpo = GuardedDPOTrainer(
        model=str(model),
        args=trainer.arguments(job, DPOConfig),
        train_dataset=Dataset.from_list([{c: row[c] for c in COLUMNS} for row in rows]),
        processing_class=load_tokenizer(model),
    )
    if config.optimizer is not None:
        check_same_tokens(job, config.model, config.optimizer.base)
        settings = config.optimizer.model_dump(exclude={"kind", "base"})
        use_online_merging(
            dpo, base=job.path(config.optimizer.base), sft=model, seed=job.seed, **settings
        )
    trainer.train(job, dpo, shown=("loss", "rewards/accuracies", "rewards/margins"))
    facts = trainer.save(job, dpo)
    kept = len(dpo.train_dataset)
    return Outcome(
        rows={
            "kept": kept,
            "dropped": {"prompt longer than max_length": len(rows) - kept},
            **trainer.repeated(job, dpo),
        },
        metrics={
            "loss": trainer.last(dpo, "loss"),
            "reward_accuracy": trainer.last(dpo, "rewards/accuracies"),
            "reward_margin": trainer.last(dpo, "rewards/margins"),
        },
        facts={**facts, "reference_sha256": job.inputs[config.model].manifest["weights_sha256"]},
    )
