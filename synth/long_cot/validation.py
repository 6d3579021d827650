"""Keeping what is trained on apart from what is validated on (Qwen3 §4.1, rule 6)."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from synth.flow.item import Item
from synth.flow.window import Window
from synth.rows.messages import last_user
from synth.synthesis import SynthesisError
from synth.text.words import words_of

COLUMNS = ("prompt", "question", "text")


class Validation:
    """The items, by their runs of words."""

    def __init__(self, texts: Sequence[str], overlap_words: int) -> None:
        self.texts = texts
        self._holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._num_runs: list[int] = []
        for number, text in enumerate(texts):
            words = words_of(text)
            runs = _runs(words, min(overlap_words, len(words)))
            self._num_runs.append(len(runs))
            for run in runs:
                self._holders[run].append(number)
        self._lengths = sorted({len(run) for run in self._holders})
        self._vectors: dict[str, np.ndarray] = {}

    def nearest(self, words: Sequence[str]) -> tuple[float, str]:
        """The highest share of an item's runs that these words have, and that item.

        An item shorter than a run is one run by itself: found whole, or not at all.
        """
        common: Counter[int] = Counter()
        for length in self._lengths:
            for run in _runs(words, length):
                common.update(self._holders.get(run, ()))
        shares = {number: n / self._num_runs[number] for number, n in common.items()}
        best = max(shares, key=lambda number: (shares[number], -number), default=None)
        return (0.0, "") if best is None else (shares[best], self.texts[best])

    def vectors(self, embedder: Any) -> np.ndarray:
        """Of all items, each of length 1; shape (items, dimensions)."""
        if embedder.fingerprint not in self._vectors:
            self._vectors[embedder.fingerprint] = _unit(embedder.embed(list(self.texts)))
        return self._vectors[embedder.fingerprint]


def _runs(words: Sequence[str], length: int) -> set[tuple[str, ...]]:
    if not length:
        return set()
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def of(settings: Any) -> Validation | None:
    """The settings' validation items; None if there are none. Raises SynthesisError."""
    if settings.seeds is None and not settings.validation:
        return None
    changed = settings.seeds.stat().st_mtime_ns if _is_file(settings.seeds) else 0
    return _read(settings.seeds, changed, tuple(settings.validation), settings.overlap_words)


def _is_file(path: Path | None) -> bool:
    if path is not None and not path.is_file():
        raise SynthesisError(f"seeds: {path} is no file; give one of validation items")
    return path is not None


@lru_cache(maxsize=4)
def _read(
    path: Path | None, _changed_ns: int, more: tuple[str, ...], overlap_words: int
) -> Validation:
    found = list(_texts(path)) if path is not None else []
    return Validation([*found, *more], overlap_words)


def _texts(path: Path) -> Iterator[str]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        if path.suffix not in (".jsonl", ".json"):
            yield line
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise SynthesisError(f"{path}:{number}: this line is not JSON: {error}") from None
        named = next((row[c] for c in COLUMNS if isinstance(row, dict) and row.get(c)), None)
        if named is None:
            raise SynthesisError(f"{path}:{number}: a line has one of {', '.join(COLUMNS)}")
        yield last_user(named) if isinstance(named, list) else str(named)


def apart(window: Window, queries: Sequence[Item], settings: Any) -> list[Item]:
    """Queries unlike all validation items; the others are rejected as `query:like_validation` or,
    by the embedder, as `query:means_validation`."""
    items = of(settings)
    if items is None:
        return list(queries)
    kept = []
    for query in queries:
        share, nearest = items.nearest(words_of(last_user(query.columns["prompt"])))
        if share > settings.max_overlap:
            window.reject(query, "query:like_validation", f"{share:.0%} of {nearest[:200]!r}")
        else:
            kept.append(query)
    return _apart_in_meaning(window, kept, items, settings) if settings.embedder else kept


def _apart_in_meaning(
    window: Window, queries: Sequence[Item], items: Validation, settings: Any
) -> list[Item]:
    def nearest(texts: Sequence[str]) -> list[list[Any]]:
        vectors = _unit(settings.embedder.embed(list(texts)))
        cosines = vectors @ items.vectors(settings.embedder).T
        return [[float(row.max()), items.texts[int(row.argmax())]] for row in cosines]

    texts = [last_user(query.columns["prompt"]) for query in queries]
    source = [settings.embedder.fingerprint, list(items.texts)]
    kept = []
    for query, (cosine, text) in zip(
        queries, window.compute("embed", nearest, texts, source=source), strict=True
    ):
        if cosine > settings.max_cosine:
            window.reject(query, "query:means_validation", f"cosine {cosine:.2f} to {text[:200]!r}")
        else:
            kept.append(query)
    return kept


def _unit(vectors: Sequence[Sequence[float]]) -> np.ndarray:
    """Rows of length 1."""
    array = np.asarray(vectors, dtype=float)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)


def unlike(window: Window, candidates: Sequence[Item], settings: Any) -> list[Item]:
    """Rule 6, as `validation:similar`: answers that have too much of a validation item in them."""
    items = of(settings)
    if items is None:
        return list(candidates)
    kept = []
    for one in candidates:
        share, nearest = items.nearest(one.value.words)
        if share > settings.max_overlap:
            window.reject(one, "validation:similar", f"{share:.0%} of {nearest[:200]!r}")
        else:
            kept.append(one)
    return kept
