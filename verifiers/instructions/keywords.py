"""Constraints on which words and letters are used.

Case does not matter. The published checker reads a keyword as a regular expression; here it stands
for itself, so `c++` is a keyword like any other. No keyword of the published prompts differs.
"""

import re
from collections.abc import Sequence

from verifiers.instructions.counting import shortfall


def existence(response: str, *, keywords: Sequence[str]) -> str:
    """Each keyword is somewhere in the response, inside a longer word too, as published."""
    missing = [word for word in keywords if not _literal(word).search(response)]
    return f"without {', '.join(missing)}" if missing else ""


def frequency(response: str, *, keyword: str, frequency: int, relation: str) -> str:
    """Occurrences inside longer words count, as published."""
    found = sum(1 for _ in _literal(keyword.strip()).finditer(response))
    return shortfall(found, relation, frequency, f"times {keyword!r}")


def forbidden_words(response: str, *, forbidden_words: Sequence[str]) -> str:
    """Unlike the other two, whole words only."""
    used = [
        word
        for word in forbidden_words
        if re.search(rf"\b{re.escape(word)}\b", response, re.IGNORECASE)
    ]
    return f"uses {', '.join(used)}" if used else ""


def letter_frequency(response: str, *, letter: str, let_frequency: int, let_relation: str) -> str:
    """Any one character. For `#` and `!`, which two of the published prompts ask for, the published
    checker draws another letter at random; here they are counted."""
    found = response.lower().count(letter.lower())
    return shortfall(found, let_relation, let_frequency, f"times {letter!r}")


def _literal(word: str) -> re.Pattern[str]:
    return re.compile(re.escape(word), re.IGNORECASE)
