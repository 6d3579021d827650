"""Sentences of English text, by the decision rules of Punkt (Kiss and Strunk 2006, section 4).

The published checker runs Punkt with parameters learnt from newspapers. Here are the same rules
with short lists of our own: the abbreviations, and the words that open a sentence after one.
"""

import re
from collections.abc import Iterator
from itertools import zip_longest

_ABBREVIATIONS = """
    mr mrs ms messrs dr prof gen col lt maj sen rep reps st jr sr vs inc corp co ltd bros
    jan feb aug sept sep oct nov dec mon tues wed thurs fri ave blvd ft yr ct va vt ph.d
"""
_ABBREVIATION_SET = frozenset(_ABBREVIATIONS.split())
_OPENING_WORDS = """
    a an the this that these those there here it its he his she her we our they their you your i my
    and but or so yet if when while where what who why how which whose as because since although
    though despite in on at by for from with without after before during under until among about
    to of is are was were do does did can could will would should may might let not no all some
    many most more each every both few several such other another one any
    however therefore thus then also meanwhile moreover instead indeed finally first next
    additionally nevertheless nonetheless overall please yes
"""
_OPENING_WORD_SET = frozenset(_OPENING_WORDS.split())
# Never inside a word; a full stop, question or exclamation mark before one may end a sentence.
_APART = r"""()\[\]{}"'\u2018\u2019\u201c\u201d\xab\xbb;:*@!?"""
_END_INSIDE = re.compile(rf"[.?!](?=[{_APART}])")
_BREAKS_WORD = re.compile(rf"[{_APART}]|--+|\.\.+(?=.)")
_NOT_AT_START = "`&#-,"
# Abbreviations such as a.m, u.s, j.k. Punkt, as trained for the published scores, does end a
# sentence at e.g., i.e. and P.S.
_DOTTED = re.compile(r"(?!e\.g|i\.e|p\.s|p\.p\.s)(?:[^\W\d]\.)+[^\W\d]")
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*\.")
# Closing marks belong to the sentence before.
_CLOSING = re.compile(
    r"""["')\]}\u2018\u2019\u201c\u201d\xab\xbb]+?(?:\s+|(?=--)|$)""", re.MULTILINE
)


def sentences(text: str) -> list[str]:
    """In order; white space between two sentences is in neither."""
    pieces = list(_pieces(text))
    found = []
    moved = 0
    for (start, end), following in zip_longest(pieces, pieces[1:]):
        start += moved
        closing = _CLOSING.match(text, *following) if following else None
        moved = len(closing[0]) if closing else 0
        if closing:
            end = closing.start() + len(closing[0].rstrip())
        if start < end:
            found.append(text[start:end])
    return found


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence, its closing marks still at the start of the next."""
    words = list(re.finditer(r"\S+", text))
    start = 0
    for index, word in enumerate(words):
        after = words[index + 1] if index + 1 < len(words) else None
        end, next_start = _candidate(word, after)
        if end and _is_end(text[word.start() : end], text[next_start : (after or word).end()]):
            yield start, end
            start = next_start
    yield start, len(text.rstrip())


def _candidate(word: re.Match[str], after: re.Match[str] | None) -> tuple[int, int]:
    """Where a sentence may end in this word, and where the next would start; (0, 0) if nowhere.

    As in Punkt, the last place in the word is the only one, and the last word's end is none: so
    `Wow!!!` at the very end counts as two sentences.
    """
    if after is not None and word[0][-1] in ".?!":
        return word.end(), after.start()
    ends = [found.end() for found in _END_INSIDE.finditer(word[0])]
    return (word.start() + ends[-1],) * 2 if ends else (0, 0)


def _is_end(word: str, after: str) -> bool:
    """Does the sentence end behind `word`, a mark at its end, with the text `after` it?"""
    if "?" in word or "!" in word:
        return True
    follower = _BREAKS_WORD.split(after, maxsplit=1)[0] or after[0]
    is_opening = follower[0].isupper() and follower.rstrip(",.").lower() in _OPENING_WORD_SET
    if word.endswith(".."):
        return is_opening
    token = _BREAKS_WORD.split(word)[-1].lstrip(_NOT_AT_START)
    stem = token.removesuffix(".").lower()
    if stem.rpartition("-")[2] in _ABBREVIATION_SET or _DOTTED.fullmatch(stem):
        return is_opening
    goes_on = follower[0].islower() or follower[0] in ";:,.!?"
    if len(stem) == 1 and stem.isalpha() and word[-3:-2] not in ("'", "\u2019"):
        return is_opening or not (goes_on or follower[0].isupper())
    return not (goes_on and _NUMBER.fullmatch(token))
