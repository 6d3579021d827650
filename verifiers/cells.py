"""Whether two table cells hold the same value: number, date or text."""

import datetime
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from verifiers.normal import normalised, untypeset

TOLERANCE = Decimal("1e-6")
"""Relative, for numbers with decimals; whole numbers are often identifiers and have none."""

CELL_CHARS = 200
"""Longer cells are text."""

_CURRENCY = "$\u20ac\u00a3\u00a5"
_NUMBER = re.compile(
    rf"""(?P<sign>[-+]?)\s?(?P<before>[{_CURRENCY}]?)\s?(?P<sign2>[-+]?)
    (?P<value>(?:[0-9]{{1,3}}(?:[,\s][0-9]{{3}})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)
    (?P<exponent>[eE][-+]?[0-9]{{1,3}})?
    \s?(?P<after>[%{_CURRENCY}]?)""",
    re.VERBOSE,
)
_MONTHS = [
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
]
_MONTH = r"(?P<month>[a-z]{3,9})\.?"
_DAY = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_DATES = [
    re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"),
    re.compile(rf"{_DAY}\s(?:of\s)?{_MONTH},?\s(?P<year>[0-9]{{4}})"),
    re.compile(rf"{_MONTH}\s{_DAY},?\s(?P<year>[0-9]{{4}})"),
]


@dataclass(frozen=True)
class Cell:
    """A cell read once, so that it can be compared many times.

    unit: `%`, a currency sign, or "" if the number has none.
    """

    text: str
    number: Decimal | None = None
    unit: str = ""
    date: datetime.date | None = None


def read_cell(value: Any) -> Cell:
    """A cell from what a table holds; None is an empty cell."""
    shown = " ".join(untypeset("" if value is None else str(value)).split()).strip("*_` ")
    text = normalised(shown)
    if len(shown) > CELL_CHARS:
        return Cell(text)
    found = _NUMBER.fullmatch(shown.replace("\N{MINUS SIGN}", "-"))
    is_signed_twice = found and found["sign"] and found["sign2"]
    if found and not is_signed_twice and not (found["before"] and found["after"]):
        digits = re.sub(r"[,\s]", "", found["value"]) + (found["exponent"] or "")
        number = Decimal(found["sign"] + found["sign2"] + digits)
        return Cell(text, number, found["before"] or found["after"])
    return Cell(text, date=_date(shown))


def cells_equal(left: Cell, right: Cell, tolerance: Decimal | None) -> bool:
    """Whether `left` is `right`, numbers within `tolerance` times `right`.

    Without a tolerance whole numbers must be equal, and others within TOLERANCE. A unit counts
    where both have one. `3 March 2020` is `2020-03-03`; a date such as 03/04/2020 is text, for
    nobody knows which is the month.
    """
    if left.number is not None and right.number is not None:
        if left.unit and right.unit and left.unit != right.unit:
            return False
        if left.number == right.number:
            return True
        if tolerance is None:
            are_whole = left.number == left.number.to_integral_value() and (
                right.number == right.number.to_integral_value()
            )
            tolerance = Decimal(0) if are_whole else TOLERANCE
        return abs(left.number - right.number) <= tolerance * abs(right.number)
    if left.date is not None and right.date is not None:
        return left.date == right.date
    return left.text == right.text


def _date(text: str) -> datetime.date | None:
    for pattern in _DATES:
        found = pattern.fullmatch(text.casefold())
        if found is None:
            continue
        month = found["month"]
        numbers = [n for n, name in enumerate(_MONTHS, 1) if name.startswith(month)]
        number = int(month) if month.isdigit() else next(iter(numbers), 0)
        try:
            return datetime.date(int(found["year"]), number, int(found["day"]))
        except ValueError:
            return None
    return None
