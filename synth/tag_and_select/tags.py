"""Open tags made into an inventory (InsTag, arXiv 2308.07074 §3.2)."""

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synth.synthesis import Row

_PAPER_MIN_COUNT, _PAPER_QUERIES = 20, 306_044
_BLOCK = 1024
_NOT_WORD = re.compile(r"[\W_]+")
_PAIRS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Tagged:
    """The tags of all rows in a few bytes each: row `i` has flat[starts[i]:starts[i + 1]]."""

    names: Sequence[str]
    flat: array
    starts: array

    @property
    def num_rows(self) -> int:
        return len(self.starts) - 1

    def ids(self, number: int) -> array:
        return self.flat[self.starts[number] : self.starts[number + 1]]

    def tags(self, number: int) -> list[str]:
        return [self.names[i] for i in self.ids(number)]

    def counts(self) -> np.ndarray:
        """How many rows have each tag."""
        flat = np.frombuffer(self.flat, dtype=np.uint32)
        return np.bincount(flat, minlength=len(self.names))

    def renamed(self, new: Mapping[int, int | None], names: Sequence[str]) -> "Tagged":
        """With each tag replaced, or dropped where it becomes None; a row has each tag once."""
        flat, starts = array("I"), array("Q", [0])
        for number in range(self.num_rows):
            found = dict.fromkeys(new[tag] for tag in self.ids(number))
            flat.extend(tag for tag in found if tag is not None)
            starts.append(len(flat))
        return Tagged(names, flat, starts)


def normalised(read: Callable[[], Iterator[Row]], settings: Any) -> tuple[Tagged, dict[str, float]]:
    """The rows' `tags` after the four steps of §3.2, and how many tags were left by each."""
    tagged = _read(read)
    metrics = {"tags/open": float(len(tagged.names))}
    tagged = _frequent(tagged, settings.min_count)
    metrics["tags/frequent"] = float(len(tagged.names))
    tagged = _merged(tagged, [rule_form(name) for name in tagged.names])
    metrics["tags/by_rule"] = float(len(tagged.names))
    if settings.embedder is not None and tagged.names:
        vectors = np.asarray(settings.embedder.embed(list(tagged.names)), dtype=np.float32)
        tagged = _merged(tagged, near(vectors, settings.eps))
        metrics["tags/by_meaning"] = float(len(tagged.names))
    pairs = implied(tagged, settings.association_support, settings.association_confidence)
    tagged = _merged(tagged, [_followed(tag, pairs) for tag in range(len(tagged.names))])
    metrics["tags/by_association"] = float(len(tagged.names))
    return tagged, metrics


def _read(read: Callable[[], Iterator[Row]]) -> Tagged:
    ids: dict[str, int] = {}
    flat, starts = array("I"), array("Q", [0])
    for row in read():
        flat.extend(ids.setdefault(tag, len(ids)) for tag in dict.fromkeys(row["tags"]))
        starts.append(len(flat))
    return Tagged(list(ids), flat, starts)


def _frequent(tagged: Tagged, min_count: int | None) -> Tagged:
    if min_count is None:
        min_count = max(1, round(_PAPER_MIN_COUNT * tagged.num_rows / _PAPER_QUERIES))
    counts = tagged.counts()
    kept = [tag for tag in range(len(tagged.names)) if counts[tag] >= min_count]
    places = {tag: place for place, tag in enumerate(kept)}
    new = {tag: places.get(tag) for tag in range(len(tagged.names))}
    return tagged.renamed(new, [tagged.names[tag] for tag in kept])


def rule_form(tag: str) -> str:
    """Case, punctuation and a plural's s do not make another tag."""
    words = _NOT_WORD.sub(" ", tag.casefold()).split()
    return " ".join(_singular(word) for word in words)


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _merged(tagged: Tagged, groups: Sequence[Any]) -> Tagged:
    """Tags of the same group become one, which has the name of the most frequent."""
    counts = tagged.counts()
    best: dict[Any, int] = {}
    for tag, group in enumerate(groups):
        if group not in best or counts[tag] > counts[best[group]]:
            best[group] = tag
    places = {group: place for place, group in enumerate(best)}
    new = {tag: places[group] for tag, group in enumerate(groups)}
    return tagged.renamed(new, [tagged.names[tag] for tag in best.values()])


def near(vectors: np.ndarray, eps: float) -> list[int]:
    """A group number for each row of `vectors`, (tags, dimensions): those within `eps` in cosine
    distance, and whatever they are linked through. That is DBSCAN where a point alone is a cluster.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    group = list(range(len(unit)))

    def root(tag: int) -> int:
        while group[tag] != tag:
            group[tag] = group[group[tag]]
            tag = group[tag]
        return tag

    for start in range(0, len(unit), _BLOCK):
        close = 1 - unit[start : start + _BLOCK] @ unit.T <= eps + 1e-6
        for one, other in zip(*np.nonzero(close), strict=True):
            first, second = sorted((root(start + int(one)), root(int(other))))
            group[second] = first
    return [root(tag) for tag in range(len(unit))]


def implied(tagged: Tagged, support: int, confidence: float) -> dict[int, int]:
    """Which tag nearly always brings which other one along, the most certain one for each.

    Rules of one tag on either side; longer ones of FP-Growth merge no tags.
    """
    counts = tagged.counts()
    together: Counter[int] = Counter()
    width = len(tagged.names)
    codes: list[int] = []
    for number in range(tagged.num_rows):
        ids = [int(tag) for tag in tagged.ids(number) if counts[tag] >= support]
        codes += [one * width + other for one in ids for other in ids if one != other]
        if len(codes) > _PAIRS_AT_ONCE:
            together.update(codes)
            codes = []
    together.update(codes)
    best: dict[int, tuple[float, int]] = {}
    for code, number in together.items():
        one, other = divmod(code, width)
        if number >= support and number >= confidence * counts[one]:
            best[one] = max(best.get(one, (0.0, 0)), (number / counts[one], other))
    return {one: other for one, (_, other) in best.items()}


def _followed(tag: int, pairs: Mapping[int, int]) -> int:
    """Where the rules lead from a tag; of tags that imply each other the first."""
    path = [tag]
    while path[-1] in pairs:
        after = pairs[path[-1]]
        if after in path:
            return min(path[path.index(after) :])
        path.append(after)
    return path[-1]
