r"""In a worker process: equivalence of expressions, by math-verify and by value.

math-verify's parser (latex2sympy2_extended) reads both sides. Then the difference of the two is
worked out at fixed points to as many digits as its sign needs. Unlike rounding to six places (what
math-verify 0.9.0 does), this tells `1/2004!` from `1/2006!`, and it decides in about a millisecond
where simplification takes a hundred. What has no value (sets of numbers, unknown functions) is
left to math-verify's own `verify`.
"""

import logging
import os
import random
import re
import resource
import signal
from functools import lru_cache
from typing import Any

import math_verify
import mpmath
import sympy
from latex2sympy2_extended import NormalizationConfig, latex2sympy
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

from verifiers.math.agreement import Algebra, same
from verifiers.math.answer_types import Unreadable
from verifiers.math.notation import FUNCTIONS, end_of_group
from verifiers.math.numbers import DECIMAL_TOLERANCE, FLOAT_NOISE, is_finite_decimal

MEMORY_BYTES = 2 << 30

NUM_POINTS = 6
"""At how many points expressions with variables are compared; half of them have no negative."""

NEEDED_POINTS = 3
"""At how many both sides must have a value."""

_DIGITS = 15
_NOUGHT = 1e-60
"""A difference below this of which no digit is certain (of about a hundred) is nought."""

_NORMALIZATION = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=False, nits=True, boxed="none"
)
_UNEVALUATED = (sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative)
_IMAGINARY = re.compile(r"(?<![\\a-zA-Z])i(?![a-zA-Z])|\\(?:Re|Im|arg|overline)(?![a-zA-Z])")
_INDEX = re.compile(r"_\{?\s?i(?![a-zA-Z])")
_BARE_FUNCTION = re.compile(
    rf"(?<![\\a-zA-Z])({'|'.join(sorted(FUNCTIONS, key=len, reverse=True))})(?![a-zA-Z])"
)
_OPENED = re.compile(r"(?:\\sqrt|\^)\s?\(")
_DEGREES = re.compile(r"([0-9.]+)\s?°")
_THOUSANDS = re.compile(r"(?<![\d.])[1-9][0-9]{0,2}(?: [0-9]{3})+(?!\d)")
_TWO_NUMBERS = re.compile(r"\d\s+\d|--|\+\+")
_DECIMAL = re.compile(r"\.\d")
_TO_LATEX = [
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\*"), r"\\cdot "),
    (re.compile(r"_(\d)"), r"_{\1}"),
    (re.compile(r"(?<![\d.}])(\d+)/(\d+) (?=[a-zA-Z\\(])"), r"\\frac{\1}{\2}"),
    (re.compile(r"(?<=\d)[eE]([+-]?\d+)"), r"\\cdot 10^{\1}"),
    (re.compile(r"\^\s?(-?\d{2,}|-\d)"), r"^{\1}"),
    (re.compile("\u2264"), r"\\le "),
    (re.compile("\u2265"), r"\\ge "),
    (re.compile("\u2260"), r"\\ne "),
]


def prepare() -> None:
    """Limit the worker's memory, and import and warm up what the first item would wait for."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns of having no time limit
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for warm_up in ((r"\frac{x^2}{3}+\sqrt{2}\sin{x}", r"2\pi x"), (r"x=2y+1", r"x-2y-1=0")):
        handle({"answer": warm_up[0], "reference": warm_up[1], "timeout_s": 100.0})


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Compare `answer` with `reference`, both tidied. The reply is `{"outcome": ...}`: `equal`,
    `not_equal`, `unparsable_answer` or `unparsable_reference`.

    Dies by SIGALRM a second after `timeout_s`, in case whoever asked can't kill it any more, and
    when memory runs out: nothing is certain after that.
    """
    signal.setitimer(signal.ITIMER_REAL, request["timeout_s"] + 1.0)
    tolerance = request.get("tolerance")
    comparison = _Comparison(tolerance)
    algebra = Algebra(comparison.expressions, comparison.relations, comparison.regions, tolerance)
    try:
        is_same = same(request["answer"], request["reference"], algebra)
    except Unreadable as error:
        return {"outcome": f"unparsable_{error.side}"}
    except MemoryError:
        os._exit(1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return {"outcome": "equal" if is_same else "not_equal"}


class _Comparison:
    def __init__(self, tolerance: float | None) -> None:
        self.tolerance = tolerance

    def expressions(self, answer: str, reference: str) -> bool:
        a, b = _parsed(answer, reference)
        return _equal(a, b, self._tolerance(answer + reference, a, b))

    def relations(self, answer: str, reference: str) -> bool:
        a, b = _parsed(answer, reference)
        return _same_relation(a, b, self._tolerance(answer + reference, a, b))

    def regions(self, answer: str, reference: str) -> bool:
        return _math_verify(*_parsed(answer, reference))

    def _tolerance(self, texts: str, a: Any, b: Any) -> float:
        """0 for exact; see numbers.numbers_equal."""
        if self.tolerance is not None:
            return self.tolerance
        if not _DECIMAL.search(texts):
            return 0.0
        is_finite = all(
            isinstance(side, sympy.Rational) and is_finite_decimal(int(side.q)) for side in (a, b)
        )
        return FLOAT_NOISE if is_finite else DECIMAL_TOLERANCE


def _parsed(answer: str, reference: str) -> tuple[Any, Any]:
    is_real = not (_IMAGINARY.search(answer) or _IMAGINARY.search(reference))
    return _parse_side(answer, is_real, "answer"), _parse_side(reference, is_real, "reference")


def _parse_side(text: str, is_real: bool, side: str) -> Any:
    try:
        return _parse(text, is_real)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception:  # the parser raises plain Exception, and sympy whatever it comes upon
        raise Unreadable(side) from None


@lru_cache(maxsize=4096)
def _parse(text: str, is_real: bool) -> Any:
    """What math-verify's parser makes of a tidied answer; decimals become exact fractions."""
    parsed = latex2sympy(_latex(text), is_real=is_real, normalization_config=_NORMALIZATION)
    if isinstance(parsed, sympy.MatrixExpr | sympy.UnevaluatedExpr):
        parsed = parsed.doit()
    exact = {number: sympy.Rational(str(number)) for number in parsed.atoms(sympy.Float)}
    unknown = parsed.atoms(AppliedUndef)
    named = {function: sympy.Symbol(str(function), real=is_real) for function in unknown}
    if not is_real and not _INDEX.search(text):
        named[sympy.Symbol("i", real=False)] = named[sympy.Symbol("i")] = sympy.I
    return parsed.xreplace(exact | named) if exact or named else parsed


def _latex(text: str) -> str:
    """Back to LaTeX, from the mixture of LaTeX and plain formulas that answers come in."""
    text = _THOUSANDS.sub(lambda found: found[0].replace(" ", ""), text)
    for pattern, replacement in _TO_LATEX:
        text = pattern.sub(replacement, text)
    if _TWO_NUMBERS.search(text):  # the parser would take `12 34` for a sum
        raise Unreadable
    text = _BARE_FUNCTION.sub(r"\\\1 ", text)
    text = _DEGREES.sub(r"(\1\\cdot\\frac{\\pi}{180})", text)
    while found := _OPENED.search(text):
        start, end = found.end() - 1, end_of_group(text, found.end() - 1)
        if end < 0:
            raise Unreadable
        text = f"{text[:start].rstrip()}{{{text[start + 1 : end - 1]}}}{text[end:]}"
    return text


def _equal(a: Any, b: Any, tolerance: float) -> bool:
    for side, name in ((a, "answer"), (b, "reference")):
        if side.has(sympy.nan, sympy.zoo):
            raise Unreadable(name)
    if a == b:
        return True
    if isinstance(a, sympy.MatrixBase) and isinstance(b, sympy.MatrixBase):
        pairs = zip(a.flat(), b.flat(), strict=True) if a.shape == b.shape else [(0, 1)]
        return all(_equal(*map(sympy.sympify, pair), tolerance) for pair in pairs)
    if not (isinstance(a, sympy.Expr) and isinstance(b, sympy.Expr)):
        return _math_verify(a, b)
    if a.has(*_UNEVALUATED) or b.has(*_UNEVALUATED):
        a, b = a.doit(), b.doit()
        if a.has(*_UNEVALUATED) or b.has(*_UNEVALUATED):  # no value at a point, or after minutes
            return _math_verify(a, b)
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    agreed = 0
    for point in _points(symbols):
        is_equal = _equal_at(point, a, b, tolerance)
        if is_equal is False:
            return False
        agreed += bool(is_equal)
    if agreed >= (NEEDED_POINTS if symbols else 1):
        return True
    return _math_verify(a, b)


def _points(symbols: list[sympy.Symbol]) -> list[dict[sympy.Symbol, sympy.Rational]]:
    """The same values for the same name, on both sides and in every run."""
    if not symbols:
        return [{}]
    points = []
    for index in range(NUM_POINTS):
        point = {}
        for symbol in symbols:
            draw = random.Random(f"{symbol.name} {index}")
            size = sympy.Rational(draw.randrange(100, 950) + 1000 * (index % 2), 997)
            is_negative = index >= NUM_POINTS // 2 and draw.random() < 0.7
            point[symbol] = -size if is_negative else size
        points.append(point)
    return points


def _equal_at(point: dict[Any, Any], a: Any, b: Any, tolerance: float) -> bool | None:
    """None where this can't be told: no value, or none among the real numbers."""
    difference = _value(a - b, point)
    if difference is None:
        return None
    if difference == 0:
        return True
    left, right = _value(a, point), _value(b, point)
    if left is None or right is None:
        return None
    if abs(difference) <= tolerance * max(abs(left), abs(right)):
        return True
    is_outside = any(symbol.is_real for symbol in point) and (left.imag or right.imag)
    return None if is_outside else False


def _value(expression: Any, point: dict[Any, Any]) -> mpmath.mpc | None:
    """Right in its first digits and nought only if it is, or None."""
    parts = expression.evalf(_DIGITS, subs=point).as_real_imag()
    numbers = []
    for part in parts:
        if not (part.is_Float or part.is_Integer):
            return None
        is_certain = part.is_Integer or part._prec > 1
        if not is_certain and abs(part) > _NOUGHT:
            return None
        numbers.append(mpmath.mpf(part._to_mpmath(53)) if is_certain else mpmath.mpf(0))
    return mpmath.mpc(*numbers)


def _same_relation(a: Any, b: Any, tolerance: float) -> bool:
    """Relations are the same where one side's zero form is a multiple of the other's."""
    left, right = _conjuncts(a), _conjuncts(b)
    if len(left) != len(right):
        return False
    if len(left) > 1:
        ordered = zip(left, right, strict=True), zip(left, reversed(right), strict=True)
        return any(all(_same_relation(x, y, tolerance) for x, y in pairs) for pairs in ordered)
    if not (isinstance(a, Relational) and isinstance(b, Relational)):
        return _equal(a, b, tolerance)
    (sign, form), (other_sign, other_form) = _zero_form(a), _zero_form(b)
    if sign != other_sign:
        return False
    ratio = _constant_ratio(form, other_form, tolerance)
    if ratio is None:
        return sign == "=" and _math_verify(a, b)
    return ratio > 0 or sign in "=\u2260"


def _conjuncts(relation: Any) -> list[Any]:
    """The parts of a chain such as `0 < 2x < 4`, in its order."""
    if isinstance(relation, Relational) or not isinstance(relation, sympy.logic.boolalg.Boolean):
        return [relation]
    return list(getattr(relation, "_unsorted_args", relation.args))


def _zero_form(relation: Relational) -> tuple[str, Any]:
    """The sign and the left side of the relation with nought on its right."""
    difference = relation.lhs - relation.rhs
    if isinstance(relation, sympy.Gt | sympy.Lt):
        return ">", difference if isinstance(relation, sympy.Gt) else -difference
    if isinstance(relation, sympy.Ge | sympy.Le):
        return "\u2265", difference if isinstance(relation, sympy.Ge) else -difference
    return "=" if isinstance(relation, sympy.Eq) else "\u2260", difference


def _constant_ratio(a: Any, b: Any, tolerance: float) -> Any:
    """The real number c with a = c b, or None if there is none other than 0."""
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    ratios = [_value(a / b, point) for point in _points(symbols)] if b != 0 else []
    known = [ratio for ratio in ratios if ratio is not None]
    if len(known) < (NEEDED_POINTS if symbols else 1) or known[0] == 0 or known[0].imag:
        return None
    allowed = max(tolerance, 1e-12) * abs(known[0])
    is_constant = all(abs(ratio - known[0]) <= allowed for ratio in known)
    return known[0].real if is_constant else None


def _math_verify(a: Any, b: Any) -> bool:
    return math_verify.verify(
        b,
        a,
        float_rounding=12,
        numeric_precision=50,
        allow_set_relation_comp=True,
        timeout_seconds=None,  # whoever asked kills this process
    )
