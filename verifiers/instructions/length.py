"""Constraints on how much is written: words, sentences, paragraphs."""

import re

from verifiers.instructions.counting import shortfall
from verifiers.instructions.sentences import sentences
from verifiers.verdict import VerifierError

_WORD = re.compile(r"\w+")
_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_ENDS_FIRST_WORD = re.compile(r"[.,?!'\"]")


def number_words(response: str, *, num_words: int, relation: str) -> str:
    """A word is a run of what `re` takes for letters, digits and underscores: `don't` has two, and
    vowel signs part the words of Hindi and its kin. The published scores were counted so."""
    return shortfall(sum(1 for _ in _WORD.finditer(response)), relation, num_words, "words")


def number_sentences(response: str, *, num_sentences: int, relation: str) -> str:
    return shortfall(len(sentences(response)), relation, num_sentences, "sentences")


def number_paragraphs(response: str, *, num_paragraphs: int) -> str:
    """Paragraphs stand between `***`; one at the very start or end may be empty."""
    paragraphs = [paragraph.strip() for paragraph in _DIVIDER.split(response)]
    if "" in paragraphs[1:-1]:
        return "an empty paragraph between two dividers ***"
    # The two ends are never one and the same empty piece: empty responses do not come this far.
    found = len(paragraphs) - (not paragraphs[0]) - (not paragraphs[-1])
    return shortfall(found, "exactly", num_paragraphs, "paragraphs between ***")


def nth_paragraph_first_word(
    response: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> str:
    """Paragraphs stand between blank lines; case, quotes and what follows a mark do not count."""
    if nth_paragraph > num_paragraphs:
        raise VerifierError(
            f"constraint 'length_constraints:nth_paragraph_first_word': nth_paragraph is "
            f"{nth_paragraph}, but num_paragraphs is {num_paragraphs}; no response can follow that"
        )
    paragraphs = [paragraph.strip() for paragraph in response.split("\n\n")]
    found = sum(1 for paragraph in paragraphs if paragraph)
    if found != num_paragraphs:
        return shortfall(found, "exactly", num_paragraphs, "paragraphs")
    # As published, the empty ones are left out of the number, and yet have a place in the order.
    paragraph = paragraphs[nth_paragraph - 1]
    if not paragraph:
        return f"paragraph {nth_paragraph} is empty (more than one blank line before it)"
    word = paragraph.split(maxsplit=1)[0].lstrip("'").lstrip('"')
    word = _ENDS_FIRST_WORD.split(word, maxsplit=1)[0].lower()
    if word != first_word.lower():
        return f"paragraph {nth_paragraph} starts with {word[:40]!r}, not {first_word!r}"
    return ""
