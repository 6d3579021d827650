"""Which evaluation texts a text may overlap with, by counting words. No overlap gets lost.

Write a text as the set of its occurrences, (word, how often it came before). A common subsequence
is never longer than the number of occurrences that two texts share. So a text of m words overlaps
with one at least as long only if they share t = least_common(m) occurrences. Take any m - t + h of
the m: the t - h that are left hold at most t - h shared ones, hence at least h of those taken are
shared. Taken are the rarest: few texts share h of those by chance. (The prefix filter of
set-similarity joins, which has h = 1.)

Either text may be the shorter one, so there are two indexes.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

import numpy as np

from synth.decontamination.rule import least_common

# h is t / 3. A larger h means more occurrences to look up, a smaller one more texts to compare.
# Word problems take about as long with a 2 to 5 here, and several times as long with h = 1.
_SHARE = 3


class Sieve:
    """An index of evaluation texts, which are known by their numbers.

    texts: the words of each, 13 at least, the shorter texts first.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self._lengths = [len(words) for words in texts]
        self._ranks = _ranks(texts)
        all_ranks = [self.ranks(words) for words in texts]
        rarest = [ranks[: _num_taken(len(ranks))] for ranks in all_ranks]
        num_occurrences = 1 + max(ranks[-1] for ranks in all_ranks)
        self._with = _postings(all_ranks, num_occurrences)
        self._with_among_rarest = _postings(rarest, num_occurrences)
        self._num_needed = np.array([_num_needed(length) for length in self._lengths])

    def ranks(self, words: Sequence[str]) -> list[int]:
        """The occurrences that some evaluation text has too, the rarest first, by their ranks."""
        found: list[int] = []
        for word, count in Counter(words).items():
            found += self._ranks.get(word, ())[:count]
        found.sort()
        return found

    def not_longer(self, ranks: Sequence[int], length: int) -> np.ndarray:
        """Numbers of the texts, not longer than one of `length` words, that may overlap with it."""
        end = bisect_right(self._lengths, length)
        shared = _shared(self._with_among_rarest, ranks, end)
        return np.flatnonzero(shared[:end] >= self._num_needed[:end])

    def longer(self, ranks: Sequence[int], length: int) -> np.ndarray:
        """Numbers of the texts, longer than one of `length` words, that may overlap with it."""
        start = bisect_right(self._lengths, length)
        if start == len(self._lengths):
            return np.empty(0, dtype=np.intp)
        # Occurrences that no evaluation text has are the rarest of all.
        taken = ranks[: max(0, _num_taken(length) - (length - len(ranks)))]
        shared = _shared(self._with, taken, len(self._lengths))
        return start + np.flatnonzero(shared[start:] >= _num_needed(length))


def _num_needed(length: int) -> int:
    return max(1, least_common(length) // _SHARE)


def _num_taken(length: int) -> int:
    return length - least_common(length) + _num_needed(length)


def _ranks(texts: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """For each word the ranks of its first, second, ... occurrence; the rarest has rank 0."""
    counts: Counter[tuple[str, int]] = Counter()
    for words in texts:
        counts.update((w, before) for w, n in Counter(words).items() for before in range(n))
    ranks: dict[str, list[int]] = {}
    order = {occurrence: rank for rank, occurrence in enumerate(sorted(counts, key=counts.get))}
    for word, before in counts:  # counted in order: a second occurrence after the first
        ranks.setdefault(word, []).append(order[word, before])
    return ranks


def _postings(ranked: Sequence[Sequence[int]], num_occurrences: int) -> list[np.ndarray]:
    """For each occurrence the numbers of the texts that have it, in order."""
    ranks = np.concatenate([np.asarray(ranks) for ranks in ranked])
    numbers = np.repeat(np.arange(len(ranked)), [len(ranks) for ranks in ranked])
    order = np.argsort(ranks, kind="stable")
    bounds = np.searchsorted(ranks[order], np.arange(1, num_occurrences))
    return np.split(numbers[order], bounds)


def _shared(postings: Sequence[np.ndarray], ranks: Sequence[int], num_texts: int) -> np.ndarray:
    """How many of the occurrences each text has."""
    if not ranks:
        return np.zeros(num_texts, dtype=np.intp)
    return np.bincount(np.concatenate([postings[rank] for rank in ranks]), minlength=num_texts)
