"""What a document is like, by its characters and words."""

import re

from synth.text.words import words_of

_LEAST_LETTERS = 0.5
_MOST_CONTROL = 0.01


def problem_of(text: object) -> str | None:
    """`missing`, `empty`, `control_characters`, `not_prose` (under half of it is letters); or None.

    Replacement characters, which a reader puts where bytes were no UTF-8, count as control ones.
    """
    if not isinstance(text, str):
        return "missing"
    if not text.strip():
        return "empty"
    visible = [character for character in text if not character.isspace()]
    control = sum(not c.isprintable() or c == "\ufffd" for c in visible)
    if control > _MOST_CONTROL * len(visible):
        return "control_characters"
    if sum(map(str.isalpha, visible)) < _LEAST_LETTERS * len(visible):
        return "not_prose"
    return None


def cut_to(text: str, most: int) -> str:
    """The start of the text, up to the last end of a paragraph or else of a sentence in the second
    half of the first `most` characters; without one, up to the last space."""
    start = text[:most]
    for ends in (
        r"\n\s*\n",
        r"[.!?\u3002\uff01\uff1f]['\")\u201d]*(?=\s|$|[\u4e00-\u9fff])",
        r"\s",
    ):
        found = [match.end() for match in re.finditer(ends, start)]
        if found and found[-1] >= most // 2:
            return start[: found[-1]].strip()
    return start


def overlap_words(text: str, other: str) -> int:
    """Length, in words, of the longest run of words that both have."""
    ours, theirs = words_of(text), words_of(other)
    places: dict[str, list[int]] = {}
    for place, word in enumerate(theirs):
        places.setdefault(word, []).append(place)
    longest, before = 0, {}
    for word in ours:
        runs = {place: before.get(place - 1, 0) + 1 for place in places.get(word, ())}
        longest = max(longest, max(runs.values(), default=0))
        before = runs
    return longest
