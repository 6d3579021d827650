"""Numbers of a built data set."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from align.report.data_rows import DataSet, Row, provenance

_SIDES = ("prompt", "completion", "chosen", "rejected")
_NAMED = ("task", "language", "domain", "verifier", "character", "kind", "form", "reasoning")
_MOST_VALUES = 12
QUANTILES = (0.05, 0.5, 0.95)


@dataclass
class Stats:
    """lengths: characters of each side. values: of columns that sort the rows. made: by method."""

    num_rows: int = 0
    num_distinct_prompts: int = 0
    lengths: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, Counter[str]] = field(default_factory=dict)
    made: Counter[str] = field(default_factory=Counter)
    num_chosen_longer: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def quantiles(self, side: str) -> list[int]:
        ordered = sorted(self.lengths[side])
        return [ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in QUANTILES]


def stats(data: DataSet) -> Stats:
    """One pass over the rows; what was dropped is from the stage's manifest."""
    found = Stats(dropped=data.manifest.get("rows", {}).get("dropped", {}))
    prompts: set[int] = set()
    for row in data.rows():
        found.num_rows += 1
        lengths = dict(_lengths(row))
        for side, length in lengths.items():
            found.lengths.setdefault(side, []).append(length)
        found.num_chosen_longer += lengths.get("chosen", 0) > lengths.get("rejected", 0)
        prompts.add(hash(str(row.get("prompt") or row.get("source"))))
        for name in (*_NAMED, "reason") if "reason" in row else _NAMED:
            if isinstance(row.get(name), str):
                found.values.setdefault(name, Counter())[row[name]] += 1
        found.made[provenance(row).get("method", "unknown")] += 1
    found.num_distinct_prompts = len(prompts)
    return found


def _lengths(row: Row) -> Iterator[tuple[str, int]]:
    for side in _SIDES:
        if row.get(side):
            yield side, sum(len(message["content"]) for message in row[side])


def lines(found: Stats) -> list[str]:
    """The numbers as a person reads them."""
    shown = [f"{found.num_rows:,} rows, {found.num_distinct_prompts:,} distinct prompts"]
    shown += [f"made by {name}: {n:,}" for name, n in found.made.most_common() if name != "unknown"]
    if found.lengths:
        shown.append("characters              5 %     median       95 %")
    for side in found.lengths:
        shown.append(f"  {side:<16}" + "".join(f"{n:>11,}" for n in found.quantiles(side)))
    if "chosen" in found.lengths:
        share = found.num_chosen_longer / found.num_rows
        shown.append(f"chosen is the longer one in {share:.0%}")
    for name, counter in found.values.items():
        shown += [f"by {name}:", *_table(counter)]
    if found.dropped:
        shown += ["dropped:", *_table(Counter(found.dropped))]
    return shown


def _table(counter: Counter[str]) -> list[str]:
    width = max(len(f"{n:,}") for n in counter.values())
    shown = [f"  {n:>{width},}  {value}" for value, n in counter.most_common(_MOST_VALUES)]
    others = len(counter) - len(shown)
    return [*shown, f"  and {others} more"] if others > 0 else shown
