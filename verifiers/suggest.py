"""The tail of an error about an unknown name."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_LISTED = 20


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where a known word is close, and the known words if they are few."""
    words = sorted(known)
    close = get_close_matches(word, words, n=1)
    question = f"; did you mean '{close[0]}'?" if close else ""
    listed = f"; known: {', '.join(words)}" if 0 < len(words) <= MOST_LISTED else ""
    return question + listed
