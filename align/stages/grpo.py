"""GRPO: TRL's GRPOTrainer over queries in the order of their rewards' variance, high first."""

from statistics import fmean, variance
from typing import Any

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

import rewards
from align.generate import LocalEngine, Sampling
from align.recipe.schema import RewardSource
from align.stages import tables, trainer
from align.stages.job import Job, Outcome, StageError
from align.stages.models import check_same_tokens, load_tokenizer
from align.stages.rollouts import EngineRollouts
from align.train import BalancedTraining, GuardedTraining

ORDER = "order.parquet"
NOT_COLUMNS = ("id", "solution", "provenance")  # the rest goes to the reward functions


class GuardedGRPOTrainer(GuardedTraining, BalancedTraining, EngineRollouts, GRPOTrainer):
    pass


def run(job: Job) -> Outcome:
    config, model = job.config, job.path(job.config.model)
    models = [r.kind for r in config.rewards if _is_model(job, r)]
    check_same_tokens(job, config.model, *models)
    functions = [_reward(job, source) for source in config.rewards]
    args = trainer.arguments(
        job,
        GRPOConfig,
        shuffle_dataset=False,  # the order is ours; also what makes resume exact in every epoch
        reward_weights=[source.weight for source in config.rewards],
    )
    _check_checkpoints(job, args)
    rows = tables.prompt_rows(job)
    if config.order == "variance":
        rows = _by_variance(job, args, rows, _scorer(job, models, functions))
    grpo = GuardedGRPOTrainer(
        model=str(model),
        reward_funcs=functions,
        args=args,
        train_dataset=Dataset.from_list(
            [{k: v for k, v in row.items() if k not in NOT_COLUMNS} for row in rows]
        ),
        processing_class=load_tokenizer(model),
    )
    trainer.train(job, grpo, shown=("reward", "completions/mean_length"))
    facts = trainer.save(job, grpo)
    used = _queries_used(args, grpo.state.global_step, len(rows))
    return Outcome(
        rows={"kept": used, "dropped": {"not reached": len(rows) - used}},
        metrics={
            "reward": trainer.last(grpo, "reward"),
            "completion_tokens": trainer.last(grpo, "completions/mean_length"),
            "groups_without_signal": trainer.last(grpo, "frac_reward_zero_std"),
        },
        facts=facts,
    )


def _is_model(job: Job, source: RewardSource) -> bool:
    return source.kind in job.inputs and job.inputs[source.kind].kind == "reward_model"


def _reward(job: Job, source: RewardSource) -> Any:
    """The reward function that a recipe's entry names, guarded against what it may return."""
    if _is_model(job, source):
        function = rewards.RewardModel(job.path(source.kind), name=source.kind)
    else:
        function = rewards.resolve(source.kind, root=job.root)
    name = function.__name__
    return rewards.checked(function, name, on_error=source.on_error, timeout_s=source.timeout_s)


def _steps_a_rollout(args: GRPOConfig) -> int:
    """Optimizer steps taken on one generation batch."""
    window = args.steps_per_generation * args.num_iterations
    return max(1, window // args.gradient_accumulation_steps)


def _queries_used(args: GRPOConfig, steps: int, num_queries: int) -> int:
    """Queries that `steps` optimizer steps have seen; TRL leaves out a last, incomplete batch."""
    a_batch = args.generation_batch_size // args.num_generations
    batches = -(-steps // _steps_a_rollout(args))
    return min(batches, num_queries // a_batch) * a_batch


def _check_checkpoints(job: Job, args: GRPOConfig) -> None:
    """TRL keeps no state inside a generation batch: a checkpoint there could not be resumed."""
    steps = _steps_a_rollout(args)
    if args.save_strategy != "no" and args.save_steps % steps:
        raise StageError(
            f"stage '{job.name}': save_steps {args.save_steps:g} cuts a generation batch of "
            f"{steps} steps, which could not be resumed exactly; use a multiple of {steps}"
        )


def _scorer(job: Job, models: list[str], functions: list[Any]) -> Any:
    if not models:
        raise StageError(
            f"stage '{job.name}': order 'variance' scores queries by a reward model; name a reward "
            "stage among `rewards`, or set order: given"
        )
    return next(f for f in functions if f.__name__ == models[0])


def _by_variance(job: Job, args: GRPOConfig, rows: list[tables.Row], score: Any) -> list:
    """`rows` by the variance of the reward model's scores of the policy's own answers, high first.

    Qwen2.5 report, section 4.3: queries whose responses differ more in reward come first. The
    variance is unbiased (ddof 1) over `scoring_samples` answers a query. Rank 0 scores; the
    scores are kept, so that a resumed stage has the same order.
    """
    kept = job.work / ORDER
    with args.main_process_first(local=False):
        if not kept.exists():
            scored = _score(job, args, rows, score)
            fresh = kept.with_suffix(".fresh")
            tables.write_table(fresh, scored)
            fresh.replace(kept)
    scored = tables.read_table(kept)
    if job.is_main:
        tables.write_table(job.output / ORDER, scored)
    by_variance = sorted(range(len(rows)), key=lambda i: -scored[i]["variance"])
    return [rows[i] for i in by_variance]


def _score(job: Job, args: GRPOConfig, rows: list[tables.Row], score: Any) -> list[tables.Row]:
    engine = LocalEngine(
        job.path(job.config.model),
        fingerprint=job.inputs[job.config.model].fingerprint,
        cache=job.work / "scoring.jsonl",
    )
    answers = engine.generate(
        [row["prompt"] for row in rows],
        n=job.config.scoring_samples,
        sampling=Sampling(
            temperature=args.temperature,
            top_p=args.top_p,
            top_k=args.top_k,
            max_tokens=args.max_completion_length,
        ),
        seed=job.seed,
        on_progress=lambda done, total, tokens: job.progress(done, total, "queries scored"),
    )
    prompts = [row["prompt"] for row, group in zip(rows, answers, strict=True) for _ in group]
    texts = [[{"role": "assistant", "content": a.text}] for group in answers for a in group]
    scores = iter(score(prompts=prompts, completions=texts))
    groups = [[next(scores) for _ in group] for group in answers]
    return [
        {"id": row["id"], "variance": variance(group), "mean": fmean(group), "scores": group}
        for row, group in zip(rows, groups, strict=True)
    ]
