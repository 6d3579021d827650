"""What a verifier answers."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a completion is right.

    correct: None means that the verifier could not tell (a crash, a time-out, a reference it can't
        read). That is never the same as wrong, and whoever uses the verdict counts it.
    score: in [0, 1]; a verifier with partial credit may give a wrong completion more than 0.
    reason: a short fixed word, fit for counting. detail: free text for a person.
    """

    correct: bool | None
    score: float
    reason: str
    detail: str = ""


class VerifierError(ValueError):
    """The verifier can't be used on this data at all; no completion could change that."""


def concurrent(verifier: Callable[..., Verdict]) -> Callable[..., Verdict]:
    """Mark a verifier that mostly waits for other processes: `grade_all` calls it from threads."""
    verifier.concurrent = True
    return verifier
