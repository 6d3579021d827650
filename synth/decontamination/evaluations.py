"""Training rows against the texts of evaluation sets."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from synth.decontamination.conversations import conversations_of
from synth.decontamination.reading import texts_of
from synth.decontamination.rule import MIN_COMMON, least_common
from synth.decontamination.sieve import Sieve
from synth.synthesis import Row, SynthesisError
from synth.text.words import words_of

_EXCERPT_WORDS = 60
_ELSEWHERE = "\0"  # stands for all words that no evaluation text has


@dataclass(frozen=True)
class Overlap:
    """A training text and the evaluation text that it overlaps with.

    evaluation: its id, `file:line:column`. lcs: how many words they have in common, in order.
    shorter: how many the shorter of them has. excerpt, evaluation_excerpt: both, without case and
    punctuation, from the first common word to the last; the middle of a long one is left out.
    """

    evaluation: str
    lcs: int
    shorter: int
    excerpt: str
    evaluation_excerpt: str

    def __str__(self) -> str:
        return (
            f"{self.lcs} of {self.shorter} words in common with {self.evaluation}: "
            f"'{self.excerpt}' beside '{self.evaluation_excerpt}'"
        )


class Evaluations:
    """Texts that no training text may overlap with (`synth.decontamination.rule`).

    texts: ids and texts. Those below 13 words overlap with nothing and are left out, and of several
    with the same words the first one counts. Raises SynthesisError if none is left.
    """

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        first: dict[tuple[str, ...], str] = {}
        for name, text in texts:
            words = tuple(words_of(text))
            if len(words) >= MIN_COMMON:
                first.setdefault(words, name)
        if not first:
            raise SynthesisError(
                f"no evaluation text has {MIN_COMMON} words or more, so nothing could overlap with "
                "them; take them out of `decontaminate`, or give other files"
            )
        self._words = sorted(first, key=len)
        self._names = [first[words] for words in self._words]
        self._sieve = Sieve(self._words)
        self._least = np.array([least_common(len(words)) for words in self._words])
        # A word is one character, as rapidfuzz compares strings fastest.
        known = dict.fromkeys(chain.from_iterable(self._words))
        if len(known) > sys.maxunicode:
            raise SynthesisError(
                f"the evaluation texts have {len(known):,} different words, and the most that can "
                f"be told apart are {sys.maxunicode:,}; give fewer files at once"
            )
        self._characters = {word: chr(code) for code, word in enumerate(known, 1)}
        self._spelled = [self._spell(words) for words in self._words]

    @classmethod
    def read(cls, paths: Sequence[Path]) -> "Evaluations":
        """Every string of every row of JSON-lines (also `.gz`) and parquet files is a text.

        So are strings within lists and objects. Raises SynthesisError naming a file, and the line
        that can't be read, or a file of which no text has 13 words.
        """
        return cls(texts_of(paths))

    def __len__(self) -> int:
        """How many different texts there are."""
        return len(self._words)

    def find(self, rows: Iterable[Row]) -> list[Overlap | None]:
        """For each training row what it overlaps with, or None.

        Looked at are each message of the row, and all messages of a conversation as one text:
        what the model is trained on at once. A preference row is two conversations.
        Raises SynthesisError for a row without a column that holds training text.
        """
        return [self.overlap(*conversations_of(row)) for row in rows]

    def overlap(self, *conversations: Sequence[str]) -> Overlap | None:
        """What the messages of a row overlap with, one by one or a conversation together.

        Of several overlaps of the same text it is the one with most words in common.
        """
        words = {text: words_of(text) for text in chain.from_iterable(conversations)}
        for conversation in conversations:
            together = list(chain.from_iterable(words[text] for text in conversation))
            found = self._overlap(together)
            if found:
                return found
        if all(len(conversation) == 1 for conversation in conversations):
            return None
        # An evaluation text no longer than a message overlaps with the conversation if it does
        # with the message: the subsequence is there, and the evaluation text still the shorter.
        alone = (self._overlap(found, only_longer=True) for found in words.values())
        return next(filter(None, alone), None)

    def _overlap(self, words: Sequence[str], *, only_longer: bool = False) -> Overlap | None:
        if len(words) < MIN_COMMON:
            return None
        ranks = self._sieve.ranks(words)
        numbers = self._sieve.longer(ranks, len(words))
        if not only_longer:
            numbers = np.concatenate([self._sieve.not_longer(ranks, len(words)), numbers])
        if not len(numbers):
            return None
        spelled = self._spell(words)
        candidates = [self._spelled[number] for number in numbers]
        [lcs] = cdist([spelled], candidates, scorer=LCSseq.similarity, dtype=np.int32)
        # least_common grows with the length: the shorter text has the lower one.
        lcs[lcs < np.minimum(self._least[numbers], least_common(len(words)))] = 0
        best = lcs.argmax()
        return self._described(words, spelled, numbers[best], int(lcs[best])) if lcs[best] else None

    def _spell(self, words: Sequence[str]) -> str:
        return "".join([self._characters.get(word, _ELSEWHERE) for word in words])

    def _described(self, words: Sequence[str], spelled: str, number: int, lcs: int) -> Overlap:
        theirs = self._words[number]
        blocks = LCSseq.editops(spelled, self._spelled[number]).as_matching_blocks()
        blocks = [block for block in blocks if block.size]
        first, last = blocks[0], blocks[-1]
        return Overlap(
            evaluation=self._names[number],
            lcs=lcs,
            shorter=min(len(words), len(theirs)),
            excerpt=_excerpt(words[first.a : last.a + last.size]),
            evaluation_excerpt=_excerpt(theirs[first.b : last.b + last.size]),
        )


def _excerpt(words: Sequence[str]) -> str:
    if len(words) > _EXCERPT_WORDS:
        half = _EXCERPT_WORDS // 2
        words = [*words[:half], "[...]", *words[-half:]]
    return " ".join(words)
