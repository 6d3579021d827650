"""How far a set of judges can be trusted, from the patterns of their verdicts.

A pattern has one character a judge; it is counted as `pattern/<truth>/<pattern>`, where the truth
is known of planted rows alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import prod
from typing import Any

FLAWLESS, FLAWED, UNDECIDED = "1", "0", "?"

Patterns = Mapping[str, int]


def metrics(tallies: Mapping[str, int], settings: Any) -> dict[str, float]:
    """Shares, kappas, and with planted rows the rates of errors.

    yield, yield/<domain>; below_min_yield/<domain>: the yield of a domain that has too little.
    reject_rate/<judge>, of those that it decided; undecided_rate/<judge>.
    kappa/<judge>/<judge>: Cohen's; 1 is what copies of a judge have.
    false_accept/<judge>: share of the flawed rows that it passes. false_accept/all: that all pass,
    beside false_accept/independent: the product of the single ones. A higher first figure means
    that they err on the same rows. false_reject/...: of the flawless rows, those that it refuses,
    that any refuses, and that any would if they were independent.
    """
    by_truth: dict[str, Counter[str]] = {key: Counter() for key in (FLAWLESS, FLAWED, UNDECIDED)}
    for name, number in tallies.items():
        kind, _, rest = name.partition("/")
        if kind == "pattern":
            truth, _, pattern = rest.partition("/")
            by_truth[truth][pattern] += number
    patterns = sum(by_truth.values(), Counter())
    if not patterns:
        return {}
    names = settings.names
    found = {"yield": patterns[FLAWLESS * len(names)] / patterns.total()}
    found |= _domains(tallies, settings.min_yield)
    for place, name in enumerate(names):
        verdicts = _of(patterns, place)
        found[f"undecided_rate/{name}"] = verdicts[UNDECIDED] / verdicts.total()
        if decided := verdicts[FLAWLESS] + verdicts[FLAWED]:
            found[f"reject_rate/{name}"] = verdicts[FLAWED] / decided
    for one, other in combinations(range(len(names)), 2):
        value = kappa(patterns, one, other)
        if value is not None:
            found[f"kappa/{names[one]}/{names[other]}"] = value
    found |= _errors("false_accept", by_truth[FLAWED], names)
    return found | _errors("false_reject", by_truth[FLAWLESS], names)


def kappa(patterns: Patterns, one: int, other: int) -> float | None:
    """Cohen's kappa (1960) of two judges, over what both decided; None where chance alone makes
    them agree always."""
    both = Counter()
    for pattern, number in patterns.items():
        both[pattern[one] + pattern[other]] += number
    both = Counter({pair: n for pair, n in both.items() if UNDECIDED not in pair})
    if not both:
        return None
    total = both.total()
    agreed = (both["11"] + both["00"]) / total
    passed = [_of(both, place)[FLAWLESS] / total for place in (0, 1)]
    by_chance = prod(passed) + prod(1 - share for share in passed)
    return None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)


def _errors(kind: str, patterns: Patterns, names: Sequence[str]) -> dict[str, float]:
    """Rates among rows whose truth is known, and that all judges decided."""
    decided = Counter({pattern: n for pattern, n in patterns.items() if UNDECIDED not in pattern})
    if not decided:
        return {}
    passed = [_of(decided, place)[FLAWLESS] / decided.total() for place in range(len(names))]
    all_pass = decided[FLAWLESS * len(names)] / decided.total()
    single = dict(zip(names, passed, strict=True))
    rates = {**single, "all": all_pass, "independent": prod(passed)}
    if kind == "false_reject":
        rates = {name: 1 - rate for name, rate in rates.items()}
    return {f"{kind}/{name}": rate for name, rate in rates.items()}


def _domains(tallies: Mapping[str, int], min_yield: float) -> dict[str, float]:
    counts: dict[str, Counter[str]] = {}
    for name, number in tallies.items():
        kind, _, rest = name.partition("/")
        if kind == "domain":
            what, _, domain = rest.partition("/")
            counts.setdefault(domain, Counter())[what] += number
    shares = {domain: n["kept"] / n.total() for domain, n in sorted(counts.items())}
    few = {f"below_min_yield/{name}": share for name, share in shares.items() if share < min_yield}
    return {f"yield/{name}": share for name, share in shares.items()} | few


def _of(patterns: Patterns, place: int) -> Counter[str]:
    """Verdicts of one judge."""
    verdicts: Counter[str] = Counter()
    for pattern, number in patterns.items():
        verdicts[pattern[place]] += number
    return verdicts
