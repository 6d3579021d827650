"""What a synthesis method hands back."""

from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


class SynthesisError(ValueError):
    """A method, setting or prompt row that can't be used; the message says what to do."""


@dataclass(frozen=True)
class Synthesis:
    """Rows in the order of the prompts, and what became of every candidate.

    counts: `candidates` = `kept` + the reasons why a candidate was not used, which are all other
    keys but those that start with `prompts/`, `pairs/` or `candidates/` and count something else.
    """

    rows: list[Row]
    counts: dict[str, int]

    def __post_init__(self) -> None:
        reasons = self.reasons()
        assert self.counts["candidates"] == self.counts["kept"] + sum(reasons.values()), self.counts

    def reasons(self) -> dict[str, int]:
        """Candidates that were not used, by reason."""
        other = ("prompts/", "pairs/", "candidates/")
        return {
            key: number
            for key, number in self.counts.items()
            if key not in ("candidates", "kept") and not key.startswith(other)
        }
