"""A verifier as a reward function."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import verifiers
from rewards.rows import NOT_DATA, row_of, text_of

Reward = Callable[..., list[float | None]]


def from_verifier(verifier: str | Callable[..., verifiers.Verdict]) -> Reward:
    """The verifier's score as a reward; None where it could not tell, so TRL leaves the row out.

    The reference is the column `answer`; every other column goes to the verifier as a keyword.
    Where tasks are mixed, a column `verifier` says by name which one a row is for; the others give
    the row None without a look. Given TRL's `log_metric`, logs how many rows were undecided:
    `rewards/<name>/undecided`, and `rewards/<name>/undecided/<reason>`; and where tasks are mixed
    how many were another's, `rewards/<name>/of_other_verifiers`. Raises ValueError for an
    unknown name, and in use `verifiers.VerifierError` where a column is missing.
    """
    verify = verifiers.get(verifier) if isinstance(verifier, str) else verifier
    name = verifier if isinstance(verifier, str) else getattr(verify, "__name__", "verifier")

    def reward(
        completions: list[Any],
        prompts: list[Any] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        data = {key: value for key, value in columns.items() if key not in NOT_DATA}
        if prompts is not None:
            data["prompt"] = prompts
        rows = [row_of(data, row, len(completions)) for row in range(len(completions))]
        own = [i for i, row in enumerate(rows) if row.get("verifier") in (None, name)]
        texts = [text_of(completions[i]) for i in own]
        verdicts = verifiers.grade_all(verify, texts, [rows[i] for i in own])
        if log_metric is not None:
            _log_undecided(name, verdicts, log_metric)
            if "verifier" in data:
                others = float(len(rows) - len(own))
                log_metric(f"rewards/{name}/of_other_verifiers", others)
        scores: list[float | None] = [None] * len(completions)
        for row, verdict in zip(own, verdicts, strict=True):
            scores[row] = None if verdict.correct is None else verdict.score
        return scores

    reward.__name__ = name  # TRL names the metric after it
    return reward


def _log_undecided(
    name: str, verdicts: list[verifiers.Verdict], log_metric: Callable[[str, float], None]
) -> None:
    undecided = Counter(verdict.reason for verdict in verdicts if verdict.correct is None)
    log_metric(f"rewards/{name}/undecided", float(undecided.total()))
    for reason, number in sorted(undecided.items()):
        log_metric(f"rewards/{name}/undecided/{reason}", float(number))
