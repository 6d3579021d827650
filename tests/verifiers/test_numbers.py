from fractions import Fraction

import pytest

from verifiers.math.notation import tidy
from verifiers.math.numbers import Number, numbers_equal, read_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234,567", 1234567),
        ("1 000", 1000),
        ("1\u2009000", 1000),
        ("1\\,000", 1000),
        ("10,\\! 000", 10000),
        ("1{,}000", 1000),
        ("1'000", 1000),
        ("-$3", -3),
        ("$-3", -3),
        ("\N{MINUS SIGN}4", -4),
        (".75", Fraction(3, 4)),
        ("12,345.6", Fraction(123456, 10)),
        ("\\frac34", Fraction(3, 4)),
        ("\\dfrac{1}{-2}", Fraction(-1, 2)),
        ("\\frac{1.5}{2}", Fraction(3, 4)),
        ("1\\frac12", Fraction(3, 2)),
        ("-1 1/2", Fraction(-3, 2)),
        ("1 000 4/9", Fraction(9004, 9)),
        ("\N{VULGAR FRACTION ONE HALF}", Fraction(1, 2)),
        ("0.\\overline{3}", Fraction(1, 3)),
        ("0.1\\overline{6}", Fraction(1, 6)),
        ("1.5\\times10^3", 1500),
        ("1.5 \\cdot 10^{-3}", Fraction(3, 2000)),
        ("1.5e3", 1500),
        ("9" * 3000, int("9" * 3000)),
    ],
)
def test_plain_numbers_are_read_exactly(text: str, value: Fraction) -> None:
    assert read_number(tidy(text)).value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5x",
        "2ab",
        "3xy",
        "5 or 6",
        "5 million",
        "1/0",
        "--5",
        "12 34",
        "1,23",
        "0,123",
        "1 3/2",
        "1e9999",
        "x",
        "1" * 4000,
        "\\pi",
        "$5\u20ac",
    ],
)
def test_what_is_no_plain_number_is_not_read(text: str) -> None:
    assert read_number(tidy(text)) is None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("5 cm", "5 centimetres"),
        ("5 square feet", "5 ft^2"),
        ("5\\text{ cm}^2", "5 sq cm"),
        ("5\\text{ m}", "5 meters"),
        ("60 miles per hour", "60 mph"),
        ("90^\\circ", "90 degrees"),
        ("50\\%", "50 percent"),
        ("\\$5", "5 dollars"),
        ("3 units", "3 cm"),
        ("101_2", "101_{2}"),
    ],
)
def test_one_unit_in_two_spellings_agrees(left: str, right: str) -> None:
    one, other = read_number(tidy(left)), read_number(tidy(right))
    assert numbers_equal(one, other) and numbers_equal(other, one)


@pytest.mark.parametrize(
    ("left", "right"), [("5 cm", "5 m\\ "), ("5 cm", "5 cm^2"), ("101_2", "101_3"), ("5%", "$5")]
)
def test_different_units_do_not_agree(left: str, right: str) -> None:
    one, other = read_number(tidy(left)), read_number(tidy(right))
    assert one is None or other is None or not numbers_equal(one, other)


def _decimal(text: str) -> Number:
    return Number(Fraction(text), is_decimal="." in text)


def test_only_a_decimal_may_stand_for_what_no_decimal_can_write_out() -> None:
    third = Number(Fraction(1, 3))
    assert numbers_equal(_decimal("0.3333333"), third)
    assert not numbers_equal(_decimal("0.333"), third)
    assert numbers_equal(_decimal("0.30000000000000004"), _decimal("0.3"))
    assert not numbers_equal(_decimal("0.3000001"), _decimal("0.3"))
    assert not numbers_equal(Number(Fraction(10**20)), Number(Fraction(10**20 + 1)))


def test_a_tolerance_is_relative() -> None:
    assert numbers_equal(_decimal("102"), _decimal("100"), 0.02)
    assert not numbers_equal(_decimal("103"), _decimal("100"), 0.02)
    assert not numbers_equal(_decimal("0.00000002"), _decimal("0.00000001"), 0.02)
