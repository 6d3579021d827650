"""Mistakes in a recipe, and the known word nearest to an unknown one."""

from collections.abc import Iterable
from difflib import get_close_matches

from align.errors import AlignError


class RecipeError(AlignError):
    """One or more mistakes in a recipe, each with file, line and column."""

    def __init__(self, problems: Iterable[str]):
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known word, else the known words themselves."""
    known = sorted(known)
    close = get_close_matches(str(word), known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if 0 < len(known) <= 20 else ""
