r"""Verifier "math": exact comparison of final answers.

Plain numbers are compared as fractions, without rounding: signs, thousands separators, decimals,
`a/b` and `\frac{a}{b}`, with a currency sign, a percent sign or a trailing unit taken off. Units
must agree where both sides have one. `50%` equals `50` and not `0.5`. Anything else is compared as
text, without regard to case and spacing. Equivalence of expressions is not decided here: `2x` is
not a number, and equals only `2x`.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from math import isfinite
from typing import Any

from verifiers.extract import final_answer
from verifiers.verdict import Verdict

NUMBER_CHARS = 200
"""Longer answers are compared as text only (Python refuses integers of more than 4300 digits)."""

_CURRENCIES = "$€£¥"
_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)\s?(?P<currency>[{_CURRENCIES}]?)\s?(?P<sign2>[+-]?)
    (?P<value>(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)
    (?:\s?/\s?(?P<denominator>[0-9]+))?
    \s?(?P<unit>%|[{_CURRENCIES}]|[^\W\d_].*)?""",
    re.VERBOSE,
)
# One letter could be a variable (`5x`, `2n`), so a unit has at least two; one or two words.
_WORD = r"[^\W\d_]{2,}[²³]?"
_UNIT = re.compile(rf"{_WORD}(?:(?: |/| per ){_WORD})?|[a-z]{{1,3}}/[a-z]{{1,3}}")
_NOT_UNIT = re.compile(
    r"""\b(?:pi|xy|or|and|not|to|is|was|plus|minus|times|over|divided|by|sin|cos|tan|log|ln
    |dozen|hundred|thousand|million|billion|trillion|half|halves|thirds?|quarters?|squared|cubed
    )\b""",
    re.VERBOSE,
)
_LATEX = [
    (re.compile(r"\\(?:text|mathrm|mbox)\s?\{([^{}]*)\}"), r" \1"),
    (re.compile(r"\\[dt]?frac\s?\{([^{}]*)\}\s?\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\left|\\right|\\[!,]"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\([$%])"), r"\1"),
]
_TIGHT = re.compile(r"\s*([,;:()\[\]{}=+*/^<>|-])\s*")


def verify(completion: str, reference: str | int | float, **columns: Any) -> Verdict:
    """Compare the final answer of `completion` with that of `reference`.

    The reference is an answer, or a worked solution whose final answer is marked. Reasons:
    `equal`, `not_equal`, `no_answer`; `unparsable_reference` with correct None.
    """
    expected = _reference_answer(reference)
    if expected is None:
        return Verdict(None, 0.0, "unparsable_reference", f"reference: {str(reference)[:80]!r}")
    answer = final_answer(completion)
    if answer is None:
        return Verdict(False, 0.0, "no_answer")
    if _equal(answer, expected):
        return Verdict(True, 1.0, "equal")
    return Verdict(False, 0.0, "not_equal", f"{answer[:80]!r} is not {expected[:80]!r}")


def verify_batch(
    completions: Sequence[str], references: Sequence[str | int | float]
) -> list[Verdict]:
    """One verdict a completion, in order. Raises ValueError if the lengths differ."""
    if len(completions) != len(references):
        raise ValueError(f"{len(completions)} completions, but {len(references)} references")
    return [verify(*pair) for pair in zip(completions, references, strict=True)]


def _reference_answer(reference: Any) -> str | None:
    if isinstance(reference, str):
        return final_answer(reference)
    is_number = isinstance(reference, int | float) and not isinstance(reference, bool)
    return str(reference) if is_number and isfinite(reference) else None


def _equal(answer: str, expected: str) -> bool:
    if _normalised(answer) == _normalised(expected):
        return True
    left, right = _number(answer), _number(expected)
    if left is None or right is None or left[0] != right[0]:
        return False
    return not left[1] or not right[1] or left[1] == right[1]


def _plain(text: str) -> str:
    """Without the LaTeX that only sets a number in type."""
    text = text.replace("\N{MINUS SIGN}", "-")
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def _normalised(text: str) -> str:
    return _TIGHT.sub(r"\1", _plain(text)).casefold()


def _number(text: str) -> tuple[Fraction, str] | None:
    """Value and unit (singular, lower case, "" without one), or None if this is no plain number."""
    if len(text) > NUMBER_CHARS:
        return None
    found = _NUMBER.fullmatch(_plain(text))
    if found is None or (found["sign"] and found["sign2"]):
        return None
    unit = _unit(found["unit"] or found["currency"] or "")
    denominator = int(found["denominator"] or 1)
    if unit is None or denominator == 0 or (found["unit"] and found["currency"]):
        return None
    value = Fraction(found["value"].replace(",", "").rstrip(".")) / denominator
    return (-value if "-" in (found["sign"], found["sign2"]) else value), unit


def _unit(text: str) -> str | None:
    """The unit in one spelling, or None if this is no unit."""
    unit = text.strip().removesuffix(".").casefold()
    if unit in ("percent", "%"):
        return "%"
    if unit in ("dollar", "dollars", "usd"):
        return "$"
    if not unit or unit in _CURRENCIES:
        return unit
    if not _UNIT.fullmatch(unit) or _NOT_UNIT.search(unit):
        return None
    return unit.removesuffix("s").removesuffix("e")  # miles and mile, inches and inch: as one
