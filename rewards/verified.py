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
    Given TRL's `log_metric`, logs how many rows were undecided: `rewards/<name>/undecided`, and
    `rewards/<name>/undecided/<reason>`. Raises ValueError for an unknown name, and in use
    `verifiers.VerifierError` where a column is missing.
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
        verdicts = [
            verifiers.grade(verify, text_of(completion), row_of(data, row, len(completions)))
            for row, completion in enumerate(completions)
        ]
        if log_metric is not None:
            undecided = Counter(v.reason for v in verdicts if v.correct is None)
            log_metric(f"rewards/{name}/undecided", float(undecided.total()))
            for reason, number in sorted(undecided.items()):
                log_metric(f"rewards/{name}/undecided/{reason}", float(number))
        return [None if v.correct is None else v.score for v in verdicts]

    reward.__name__ = name  # TRL names the metric after it
    return reward
