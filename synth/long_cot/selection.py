"""The small part of the rows that is trained on: so many of a domain, so many in all."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from synth.synthesis import Row


@dataclass(frozen=True)
class Selection:
    """Which rows go, and why, by their number."""

    metrics: dict[str, float]
    reasons: Mapping[int, str]

    def dropped(self, number: int) -> str | None:
        """`select:per_domain`, `select:max_rows`, or None for a row that stays."""
        return self.reasons.get(number)

    def columns(self, number: int) -> Mapping[str, Any]:
        return {}


def select(read: Callable[[], Iterator[Row]], settings: Any) -> Selection:
    """At most `per_domain` rows of each domain, and of these `max_rows`, from the domains in turn.

    Which ones follows from seed and row alone, not from the order of the rows.
    """
    domains: dict[str, list[tuple[bytes, int]]] = {}
    for number, row in enumerate(read()):
        named = f"{settings.seed}/{row['id']}/{row['completion'][0]['content']}"
        key = sha256(named.encode()).digest()[:8]
        domains.setdefault(row["domain"], []).append((key, number))
    reasons: dict[int, str] = {}
    turns: list[tuple[int, str, int]] = []
    for domain, rows in domains.items():
        for turn, (_, number) in enumerate(sorted(rows)):
            if settings.per_domain is not None and turn >= settings.per_domain:
                reasons[number] = "select:per_domain"
            else:
                turns.append((turn, domain, number))
    turns.sort()
    if settings.max_rows is not None:
        reasons |= {number: "select:max_rows" for *_, number in turns[settings.max_rows :]}
    counts = Counter(domain for _, domain, number in turns if number not in reasons)
    return Selection({f"rows/{name}": float(n) for name, n in sorted(counts.items())}, reasons)
