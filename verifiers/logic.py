"""Verifier "logic": truth values, and open answers compared without regard to how they are written.

The reference decides. `True`, `Yes`, `T` and their opposites are truth values, and so is a third,
`Unknown` (`Uncertain`, `Undetermined`, `Cannot be determined`), of FOLIO's kind. A mapping (`Alice:
red, Bob: blue`, or a dict) is compared without regard to order. A list is compared in its order,
and may be answered as `A > B > C` as well. Anything else is compared as text
(`verifiers.normal.normalised`); numbers and formulas are better served by "math".
"""

import math
import re
import unicodedata
from typing import Any

from verifiers.extract import final_answer
from verifiers.normal import QUOTES, last_line, normalised, untypeset
from verifiers.strict_json import array_or_object
from verifiers.verdict import Verdict

_TRUTHS = {
    "true": ("true", "yes", "t", "y"),
    "false": ("false", "no", "f", "n", "not true"),
    "unknown": (
        "unknown", "uncertain", "undetermined", "indeterminate", "undecided", "undecidable",
        "cannot be determined", "cant be determined", "can not be determined",
        "cannot determine", "cannot tell", "cant tell", "cannot say", "cant say",
        "not enough information", "insufficient information", "cannot be known",
    ),
}  # fmt: skip
_VALUES = {word: value for value, words in _TRUTHS.items() for word in words}
_ANY = "|".join(sorted(_VALUES, key=len, reverse=True)).replace(" ", r"\s")
_TRUTH = re.compile(
    rf"""(?:(?:therefore|thus|hence|so|based\son\s[^,]{{1,80}}),?\s)?
    (?:(?:it|this|that|(?P<subject>(?:the\s|this\s|that\s)?(?:truth\svalue\sof\s(?:the\s|this\s)?)?
    (?:statement|claim|conclusion|hypothesis|proposition|sentence|answer)))\sis\s|it\s(?=can))?
    (?P<word>{_ANY})
    (?:$|(?:[.,;:!]|\s[-(\u2013\u2014])(?P<reason>.*)|\s(?:because|since|as)\b)""",
    re.VERBOSE | re.DOTALL,
)
_OTHER = re.compile(rf"\W*(?:(?:or|and|but|also|maybe|perhaps|possibly)\s)*(?P<word>{_ANY})\b")
_ITEM = re.compile(r",\s*and\s|[,;\n]|\sand\s")
_RANK = re.compile(r"->|[>\u2192\u227b]")
_PAIR = re.compile(r"([^:=\n]{1,200}?)(?:->|\u2192|:|=|\sis\s)([^:=]{1,200})")
_BULLET = re.compile(r"(?:[0-9]{1,3}[.)]|[-*\u2022])\s")

Reading = tuple[str, Any]
"""Of a reference: `truth`, `mapping`, `list` or `text`, and its value in normal form; of a text
also the mapping that it writes down, if it does."""


def verify(
    completion: str,
    reference: Any,
    *,
    aliases: list[Any] | str | None = None,
    **columns: Any,
) -> Verdict:
    """Compare the final answer of `completion` with `reference`.

    reference: a string, a number, a bool, a list (an order; never a list of alternatives) or a
    dict, the last two as JSON if you like. aliases: other references that are as good (a list, or
    JSON of one). Without a mark, a last line that holds nothing but a truth value, or `the
    statement is` and one, is an answer to a question of truth. Reasons: `equal`, `not_equal`,
    `no_answer`; `unparsable_reference` with correct None.
    """
    others = array_or_object(aliases) if isinstance(aliases, str) else aliases or []
    references = [_read(one) for one in (reference, *others)] if isinstance(others, list) else None
    if references is None or None in references:
        what = f"reference: {reference!r:.80}, aliases: {aliases!r:.80}"
        return Verdict(None, 0.0, "unparsable_reference", what)
    answer = final_answer(completion)
    if answer is None:
        answer = last_line(completion)
        if not _concludes(answer):
            return Verdict(False, 0.0, "no_answer")
    answer = untypeset(answer)
    if any(_equal(answer, expected) for expected in references):
        return Verdict(True, 1.0, "equal")
    return Verdict(False, 0.0, "not_equal", f"{answer[:80]!r} is not {reference!r:.80}")


def _read(reference: Any) -> Reading | None:
    if isinstance(reference, str):
        loaded = array_or_object(reference)
        if loaded is not None:
            return _read(loaded)
        reference = untypeset(reference)
        text = normalised(reference)
        if text in _VALUES:
            return "truth", _VALUES[text]
        return ("text", (text, _pairs(reference))) if text else None
    if isinstance(reference, bool):
        return "truth", str(reference).lower()
    if isinstance(reference, int | float):
        is_finite = isinstance(reference, int) or math.isfinite(reference)
        return _read(str(reference)) if is_finite else None
    if isinstance(reference, dict):
        mapping = _mapping(list(reference.items()))
        return ("mapping", mapping) if mapping else None
    if isinstance(reference, list | tuple):
        items = [normalised(str(item)) for item in reference if isinstance(item, str | int | float)]
        return ("list", items) if items and all(items) and len(items) == len(reference) else None
    return None


def _equal(answer: str, expected: Reading) -> bool:
    kind, value = expected
    if kind == "truth":
        return _truth(answer) == value
    if kind == "mapping":
        return _pairs(answer) == value
    if kind == "list":
        return value in _lists(answer)
    text, pairs = value
    return normalised(answer) == text or (pairs is not None and _pairs(answer) == pairs)


def _truth(answer: str) -> str | None:
    """The truth value that starts an answer, if what follows is set off and names no other."""
    found = _TRUTH.match(_plain(answer))
    if found is None:
        return None
    value = _VALUES[found["word"]]
    other = _OTHER.match(found["reason"] or "")
    return None if other and _VALUES[other["word"]] != value else value


def _plain(answer: str) -> str:
    plain = QUOTES.sub("", unicodedata.normalize("NFKC", answer)).casefold()
    return " ".join(plain.split()).lstrip("*_ ").replace("*", "")


def _concludes(line: str) -> bool:
    """Whether a last line is a truth value, alone or as `Therefore, the statement is true`."""
    found = _TRUTH.match(_plain(line))
    return normalised(line) in _VALUES or bool(found and found["subject"])


def _pairs(answer: str) -> dict[str, str] | None:
    loaded = array_or_object(answer)
    if isinstance(loaded, dict):
        return _mapping(list(loaded.items()))
    found = [_PAIR.fullmatch(item) for item in _items(answer, _ITEM)]
    if not found or None in found:
        return None
    return _mapping([(pair[1], pair[2]) for pair in found if pair])


def _mapping(pairs: list[tuple[Any, Any]]) -> dict[str, str] | None:
    """The pairs in normal form, or None if a value is no plain one or a key has two."""
    mapping: dict[str, str] = {}
    for key, value in pairs:
        plain = normalised(str(value))
        if not isinstance(value, str | int | float) or not plain:
            return None
        if mapping.setdefault(normalised(str(key)), plain) != plain:
            return None
    return mapping


def _lists(answer: str) -> list[list[str]]:
    """The answer as a list, read in each way that a list is written."""
    loaded = array_or_object(answer)
    if isinstance(loaded, list):
        return [[normalised(str(item)) for item in loaded]]
    if answer[:1] + answer[-1:] in ("[]", "()"):
        answer = answer[1:-1]
    return [[normalised(item) for item in _items(answer, split)] for split in (_ITEM, _RANK)]


def _items(answer: str, separator: re.Pattern[str]) -> list[str]:
    parts = [_BULLET.sub("", part.strip(), count=1).strip() for part in separator.split(answer)]
    return [part for part in parts if part]
