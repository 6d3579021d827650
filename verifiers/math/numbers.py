r"""Plain numbers, read without a computer algebra system and compared without rounding.

Read: signs, thousands separators (`1,000`, `1 000`, `1\,000`, `1{,}000`, `1'000`), decimals,
repeating ones too (`0.\overline{3}`), `a/b`, `\frac{a}{b}`, mixed numbers (`1\frac12`, `1 1/2`),
powers of ten (`1.5\times10^3`, `1.5e3`), a currency, a percent or degree sign, a base (`101_2`) and
a trailing unit. Units must agree where both sides have one. `50%` equals `50` and not `0.5`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

NUMBER_CHARS = 3_000
"""Longer ones are not read (Python refuses integers of more than 4300 digits)."""

DECIMAL_TOLERANCE = 1e-6
"""Relative: how near a decimal has to come to a number that no decimal can write out, as 1/3."""

FLOAT_NOISE = 1e-14
"""Relative: the last digits of a number that a computer worked out, as 0.30000000000000004."""

_CURRENCIES = "$€£¥"
_INTEGER = r"(?:[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+|(?:[ ][0-9]{3})+|(?:'[0-9]{3})+)|[0-9]+)"
_VALUE = rf"(?:{_INTEGER}(?:\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)\s?(?P<currency>[{_CURRENCIES}]?)\s?(?P<sign2>[+-]?)
    (?:(?P<whole>{_INTEGER})\s(?P<part>[0-9]+)\s?/\s?(?P<parts>[0-9]+)
    |(?P<value>{_VALUE})(?:\s?/\s?(?P<denominator>-?{_VALUE})
        |[eE](?P<exponent>[+-]?[0-9]{{1,3}})
        |\s?(?:\\times|\\cdot|\*|x)\s?10\s?\^\s?\{{?\s?(?P<power>[+-]?[0-9]{{1,3}})\s?\}}?)?)
    \s?(?P<unit>[%°]|_\{{?[0-9]{{1,2}}\}}?|[{_CURRENCIES}]|[^\W\d_].*)?""",
    re.VERBOSE,
)
_PLAIN = re.compile(r"[+-]?[0-9]{1,18}")
_FRACTION = re.compile(
    rf"(?P<whole>[0-9]\s?)?\\frac\{{\s?(?P<top>-?{_VALUE})\s?\}}\{{\s?(?P<bottom>-?{_VALUE})\s?\}}"
)
_REPEATING = re.compile(r"([0-9]{0,50})\.([0-9]{0,50})\\(?:overline|dot|bar)\{([0-9]{1,50})\}")

# One letter could be a variable, and two a product (`5x`, `2ab`), so a unit is a longer word or one
# of these; one or two words.
_SHORT = "mm|cm|dm|km|mg|kg|ml|dl|cl|lb|oz|ft|in|yd|mi|hr|ms|am|pm|gb|mb|kb|hz|mw|kw|sq|cu"
_WORD = rf"(?:{_SHORT}|[^\W\d_]{{3,}})"
_UNIT = re.compile(
    rf"{_WORD}(?:(?: |/| per ){_WORD})?(?:\^\{{?[23]\}}?)?|[a-z]{{1,3}}/[a-z]{{1,3}}(?:\^2)?"
)
_NOT_UNIT = re.compile(
    r"""\b(?:abc|xyz|and|not|was|plus|minus|times|over|divided|by|sin|cos|tan|log|ln|sqrt
    |mod|root|squareroot|factorial|maybe|perhaps|otherwise|alternatively|versus|xor
    |(?:dozen|ten|hundred|thousand|million|billion|trillion|lakh|crore)(?:th)?s?
    |half|halfs|halves|thirds?|quarters?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?
    |one|two|three|four|five|six|seven|eight|nine|eleven|twelve|twenty|thirty|forty|fifty
    )\b|^(?:squared|cubed)$""",
    re.VERBOSE,
)
# After an amount of money: `$10 per day`, `$5 each`, `$3 dollars`.
_PRICE = re.compile(r"(?:(?:per|an?)\s[^\W\d_]+|each|dollars?|USD)\.?", re.IGNORECASE)
_SAME_UNIT = {
    "percent": "%",
    "percentage": "%",
    "pct": "%",
    "degree": "°",
    "deg": "°",
    "dollar": "$",
    "usd": "$",
    "euro": "€",
    "eur": "€",
    "pound sterling": "£",
    "meter": "metre",
    "cm": "centimetre",
    "centimeter": "centimetre",
    "mm": "millimetre",
    "millimeter": "millimetre",
    "km": "kilometre",
    "kilometer": "kilometre",
    "liter": "litre",
    "kg": "kilogram",
    "sec": "second",
    "min": "minute",
    "hr": "hour",
    "ft": "foot",
    "feet": "foot",
    "inche": "inch",
    "in": "inch",
}
_POWER_WORDS = [
    (re.compile(r"(?:square|sq\.?) (\w+)|(\w+) squared"), "2"),
    (re.compile(r"(?:cubic|cu\.?) (\w+)|(\w+) cubed"), "3"),
    (re.compile(r"(\w+)\^\{?2\}?()"), "2"),
    (re.compile(r"(\w+)\^\{?3\}?()"), "3"),
]


@dataclass(frozen=True, slots=True)
class Number:
    """unit: in one spelling, "" without one. is_decimal: written with a decimal point."""

    value: Fraction
    unit: str = ""
    is_decimal: bool = False


def read_number(tidied: str) -> Number | None:
    """The number that a tidied answer is, or None if it is no plain number."""
    if _PLAIN.fullmatch(tidied):
        return Number(Fraction(int(tidied)))
    if len(tidied) > NUMBER_CHARS:
        return None
    text = tidied
    if "\\" in text:
        text = _REPEATING.sub(_as_fraction, _FRACTION.sub(_with_slash, text))
    found = _NUMBER.fullmatch(text)
    if found is None or (found["sign"] and found["sign2"]):
        return None
    is_price = found["currency"] and found["unit"] and _PRICE.fullmatch(found["unit"])
    unit = read_unit("" if is_price else found["unit"] or found["currency"] or "")
    value = _value(found)
    if unit is None or value is None or (found["unit"] and found["currency"] and not is_price):
        return None
    is_negative = "-" in (found["sign"], found["sign2"])
    return Number(-value if is_negative else value, unit, "." in tidied)


def read_unit(text: str) -> str | None:
    """The unit in one spelling, or None if this is no unit."""
    unit = text.strip().removesuffix(".").casefold().replace("sq. ", "sq ").replace("cu. ", "cu ")
    unit = "mile/hour" if unit == "mph" else unit
    if not unit or unit in _CURRENCIES or unit in "%°":
        return unit
    if unit.startswith("_"):
        return unit.replace("{", "").replace("}", "")
    if not _UNIT.fullmatch(unit) or _NOT_UNIT.search(unit):
        return None
    for pattern, power in _POWER_WORDS:
        found = pattern.fullmatch(unit)
        if found:
            base = _singular(found[1] or found[2])
            return f"{base}^{power}" if base else ""
    return "/".join(_singular(word) for word in re.split(r"/| per ", unit))


def units_agree(left: str, right: str) -> bool:
    return not left or not right or left == right


def numbers_equal(left: Number, right: Number, tolerance: float | None = None) -> bool:
    """tolerance: relative. By default exact, but for a decimal that stands for a number no decimal
    can write out (`0.3333333` for `1/3`, DECIMAL_TOLERANCE), and for FLOAT_NOISE in decimals.
    """
    if not units_agree(left.unit, right.unit):
        return False
    if left.value == right.value:
        return True
    if tolerance is None:
        if not (left.is_decimal or right.is_decimal):
            return False
        is_finite = all(is_finite_decimal(side.value.denominator) for side in (left, right))
        tolerance = FLOAT_NOISE if is_finite else DECIMAL_TOLERANCE
    larger = max(abs(left.value), abs(right.value))
    return abs(left.value - right.value) <= Fraction(tolerance) * larger


def is_finite_decimal(denominator: int) -> bool:
    """Whether a decimal can write out a fraction in lowest terms with this denominator."""
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1


def _value(found: re.Match[str]) -> Fraction | None:
    if found["whole"]:
        part, parts = int(found["part"]), int(found["parts"])
        return _fraction(found["whole"]) + Fraction(part, parts) if part < parts else None
    value = _fraction(found["value"])
    if found["denominator"]:
        denominator = _fraction(found["denominator"])
        return value / denominator if denominator else None
    return value * Fraction(10) ** int(found["exponent"] or found["power"] or 0)


def _fraction(text: str) -> Fraction:
    text = text.replace(",", "").replace(" ", "").replace("'", "").removesuffix(".")
    return Fraction(int(text)) if text.isdecimal() else Fraction(text)


def _with_slash(found: re.Match[str]) -> str:
    whole = f"{found['whole'].strip()} " if found["whole"] else ""
    return f"{whole}{found['top']}/{found['bottom']}"


def _as_fraction(found: re.Match[str]) -> str:
    r"""`0.1\overline{6}` is 0.1 and 6 in the places after that, over and over: `15/90`."""
    whole, start, period = found[1] or "0", found[2], found[3]
    parts = int(whole + start + period) - int(whole + start)
    return f"{parts}/{(10 ** len(period) - 1) * 10 ** len(start)}"


def _singular(unit: str) -> str:
    """Miles and mile, inches and inch: as one."""
    unit = unit.strip()
    if unit in ("unit", "units"):  # says nothing
        return ""
    unit = _SAME_UNIT.get(unit) or _SAME_UNIT.get(unit.removesuffix("s"), unit)
    return unit.removesuffix("s").removesuffix("e")
