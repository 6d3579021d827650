"""What a synthesis method hands back."""

import json
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


class SynthesisError(ValueError):
    """A method, setting, row, prompt file or engine that can't be used; says what to do."""


def provenance_of(row: Row) -> dict[str, Any]:
    """How a synthesis made the row; {} if none did, whatever else the column holds."""
    try:
        found = json.loads(row.get("provenance") or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) and "row" in found else {}


@dataclass(frozen=True)
class Reject:
    """A row, or something made of one, that was not used, and why.

    reason: `step:word`, fit for counting. source: id of the row it came from. detail: free text.
    provenance: JSON, all that was done to it. text: the answer that it is, "" for a source row.
    """

    id: str
    source: str
    reason: str
    detail: str
    text: str
    columns: str
    provenance: str


@dataclass(frozen=True)
class Part:
    """What one window of rows became."""

    rows: list[Row]
    rejects: list[Reject]


@dataclass
class Counts:
    """What became of every row and of everything made on the way.

    items: source rows, and candidates made of them. items = used + the rejected items.
    rows: rows that came out. dropped: by reason, what was rejected: items, and rows that a
    selection or the decontamination took out again; as many as there are rejects. notes: other
    numbers worth knowing, such as requests answered by the store.
    """

    source: int = 0
    items: int = 0
    used: int = 0
    rows: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Synthesis:
    """All of it in memory. metrics: numbers of the whole set."""

    rows: list[Row]
    rejects: list[Reject]
    counts: Counts
    metrics: dict[str, float]
