"""A reward model by the Bradley-Terry loss: TRL's RewardTrainer, with prompts held out."""

from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from align.evaluate import wilson
from align.stages import tables, trainer
from align.stages.job import Job, Outcome, StageError
from align.stages.models import load_tokenizer
from align.train import GuardedTraining
from rewards import RewardModel


class GuardedRewardTrainer(GuardedTraining, RewardTrainer):
    pass


COLUMNS = ("prompt", "chosen", "rejected")
NOT_PROMPT = ("chosen", "rejected", "provenance")


def run(job: Job) -> Outcome:
    model = job.path(job.config.model)
    training, heldout = _split(job, tables.training_rows(job, COLUMNS))
    reward = GuardedRewardTrainer(
        model=str(model),
        args=trainer.arguments(job, RewardConfig),
        train_dataset=_dataset(training),
        processing_class=load_tokenizer(model),
    )
    trainer.train(job, reward, shown=("loss", "accuracy"))
    facts = trainer.save(job, reward)
    ranked = _ranked_rightly(job, heldout) if job.is_main else len(heldout)
    accuracy = ranked / len(heldout)
    low, high = wilson(ranked, len(heldout))
    gate = job.config.gate
    if gate is not None and accuracy < gate.accuracy:
        raise StageError(
            f"stage '{job.name}': the reward model ranks {accuracy:.1%} of {len(heldout)} held-out "
            f"pairs rightly, and its gate asks for {gate.accuracy:.1%}; more or cleaner pairs help"
        )
    if job.is_main:
        tables.write_table(job.output / tables.PROMPTS, _prompts(training))
    kept = len(reward.train_dataset)
    dropped = {"held out": len(heldout), "pair longer than max_length": len(training) - kept}
    return Outcome(
        rows={"kept": kept, "dropped": dropped, **trainer.repeated(job, reward)},
        metrics={
            "heldout_accuracy": accuracy,
            "heldout_accuracy_low": low,
            "heldout_accuracy_high": high,
            "heldout_pairs": len(heldout),
            "loss": trainer.last(reward, "loss"),
        },
        facts=facts,
    )


def _ranked_rightly(job: Job, rows: list[tables.Row]) -> int:
    """Pairs whose chosen completion scores higher; a tie is wrong (RewardBench's rule)."""
    model = RewardModel(job.output)
    prompts = [row["prompt"] for row in rows]
    chosen = model(prompts, [row["chosen"] for row in rows])
    rejected = model(prompts, [row["rejected"] for row in rows])
    return sum(c > r for c, r in zip(chosen, rejected, strict=True))


def _split(job: Job, rows: list[tables.Row]) -> tuple[list[tables.Row], list[tables.Row]]:
    """Training and held-out rows. All pairs of a prompt fall on one side."""
    names = sorted({str(row.get("id", row["prompt"])) for row in rows})
    number = max(1, round(job.config.heldout * len(names)))
    if len(names) < 2:
        raise StageError(f"stage '{job.name}': pairs of at least two prompts are needed")
    out = set(names[:number])  # ids are hashes, so the first ones are a random draw
    sides = ([], [])
    for row in rows:
        sides[str(row.get("id", row["prompt"])) in out].append(row)
    return sides


def _dataset(rows: list[tables.Row]) -> Dataset:
    return Dataset.from_list([{c: row[c] for c in COLUMNS} for row in rows])


def _prompts(rows: list[tables.Row]) -> list[tables.Row]:
    """The distinct prompts: the queries that RL will use (Qwen2.5 report, section 4.3)."""
    distinct = {str(row["prompt"]): row for row in rows}
    return [{k: v for k, v in row.items() if k not in NOT_PROMPT} for row in distinct.values()]
