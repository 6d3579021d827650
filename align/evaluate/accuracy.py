"""How many problems a model solves."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from align.errors import AlignError
from align.evaluate.intervals import wilson
from align.generate import Completion, Engine, Sampling


class Verdict(Protocol):
    """The part of `verifiers.Verdict` that is read here."""

    @property
    def correct(self) -> bool | None: ...

    @property
    def reason(self) -> str: ...


def accuracy(
    engine: Engine,
    prompts: Sequence[dict[str, Any]],
    verifier: Callable[..., Verdict],
    *,
    sampling: Sampling,
    seed: int,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> dict[str, Any]:
    """Ask each problem once and count outcomes.

    prompts: rows with "id", "prompt" and "answer"; the verifier is called as
    `verifier(completion text, answer, **other columns)`.

    Every problem has one outcome:
    right, wrong: the verifier's verdict. truncated: cut off at max_tokens; a wrong answer, and the
    verifier is not asked. undecided: the verifier could not tell (`correct` is None).

    Accuracy is right / (right + wrong + truncated). Undecided problems are in neither part, and
    counted beside it.

    Returns "accuracy" (None if nothing was decided), "low" and "high" (95 % Wilson interval), "n"
    (decided problems), "right", "wrong", "truncated", "undecided"; "tasks": the same for each value
    of the "task" column, if there is one; "undecided_reasons": reason -> count; "samples": one row
    a problem: id, task, prompt, answer, completion, new_tokens, outcome, reason.

    Raises AlignError for no prompts, and what the engine and the verifier raise.
    """
    if not prompts:
        raise AlignError("no prompts to evaluate on: give at least one")
    answers = engine.generate(
        [row["prompt"] for row in prompts],
        n=1,
        sampling=sampling,
        seed=seed,
        on_progress=on_progress,
    )
    samples = [
        _judged(row, completion, verifier)
        for row, [completion] in zip(prompts, answers, strict=True)
    ]
    tasks = sorted({sample["task"] for sample in samples if sample["task"] is not None})
    undecided = Counter(s["reason"] for s in samples if s["outcome"] == "undecided")
    return {
        **_score(samples),
        "tasks": {task: _score([s for s in samples if s["task"] == task]) for task in tasks},
        "undecided_reasons": dict(undecided),
        "samples": samples,
    }


def _judged(
    row: dict[str, Any], completion: Completion, verifier: Callable[..., Verdict]
) -> dict[str, Any]:
    if completion.finish_reason == "length":
        outcome, reason = "truncated", "cut off at max_tokens"
    else:
        columns = {name: row[name] for name in row if name not in ("prompt", "answer")}
        verdict = verifier(completion.text, row["answer"], **columns)
        outcome = {True: "right", False: "wrong", None: "undecided"}[verdict.correct]
        reason = verdict.reason
    return {
        "id": row["id"],
        "task": row.get("task"),
        "prompt": row["prompt"],
        "answer": row["answer"],
        "completion": completion.text,
        "new_tokens": len(completion.token_ids),
        "outcome": outcome,
        "reason": reason,
    }


def _score(samples: list[dict[str, Any]]) -> dict[str, Any]:
    counts = Counter(sample["outcome"] for sample in samples)
    n = counts["right"] + counts["wrong"] + counts["truncated"]
    low, high = wilson(counts["right"], n)
    return {
        "accuracy": counts["right"] / n if n else None,
        "low": low,
        "high": high,
        "n": n,
        **{outcome: counts[outcome] for outcome in ("right", "wrong", "truncated", "undecided")},
    }
