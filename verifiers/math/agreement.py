r"""Whether two answers agree, member by member.

Kinds must agree: a set is no number and a text no expression. Lists and sets are unordered, tuples
and matrices are ordered; `(0,1)` may be an interval or a pair, and equals `0<x<1`. A list `1, 2`
also equals the tuple `(1,2)`, a set of one member that member, and `x=5` the answer `5`. Only
expressions, equations and regions need computer algebra; whoever calls says how those are compared.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from verifiers.math.answer_types import Shape, Unreadable, shape, split_unit
from verifiers.math.notation import comparable
from verifiers.math.numbers import numbers_equal, read_number, units_agree

MAX_UNMATCHED = 30
"""Members of a set without an equal counterpart, to be tried each with each."""

Compare = Callable[[str, str], bool]


@dataclass(frozen=True)
class Algebra:
    """How two tidied answers of one kind are compared, the completion's first.

    regions: sets of numbers that are not spelt alike. tolerance: see numbers.numbers_equal.
    """

    expressions: Compare
    relations: Compare
    regions: Compare
    tolerance: float | None = None


_CHOICE = re.compile(r"\(?([A-J])\)?\.?")
# But not `(A) 5 (B) 6`.
_CHOICE_WITH_TEXT = re.compile(
    r"\(?([A-J])\s?[).:](?:\s(?!.*(?<![a-zA-Z])[A-J]\s?[).:]).*)?", re.DOTALL
)
_BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}
_COLLECTIONS = ("list", "set", "tuple", "union")
_REGION = re.compile(r"\\(?:mathbb|cup|cap|setminus|emptyset)(?![a-zA-Z])")
# What an answer is called: x, f(x), x_1, AB/CD, |AB|, Area, (x, y).
_ARGUMENTS = r"\s?\(\s?\w(?:\s?,\s?\w)*\s?\)"
_SYMBOL = r"(?:\\frac\{[a-zA-Z]+\}\{[a-zA-Z]+\}|\\?[a-zA-Z]+)(?:_\{?\w+\}?)?'?(?:\^\{-1\})?"
_NAME = rf"{_SYMBOL}(?:{_ARGUMENTS})?"
_NAMED = re.compile(rf"\|?{_NAME}\|?(?:\s?:\s?{_NAME})?|\(\s?{_NAME}(?:\s?,\s?{_NAME})*\s?\)")
_LETTER = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]")


def same(answer: str, reference: str, algebra: Algebra) -> bool:
    """Whether two tidied answers agree.

    Raises Unreadable for a side that can't be read, and whatever `algebra` raises.
    """
    if comparable(answer) == comparable(reference):
        return True
    choice = _CHOICE.fullmatch(reference) or _CHOICE_WITH_TEXT.fullmatch(reference)
    chosen = choice and (_CHOICE.fullmatch(answer) or _CHOICE_WITH_TEXT.fullmatch(answer))
    if choice and chosen:
        return choice[1] == chosen[1]
    said, meant = (_BOOLEANS.get(text.casefold()) for text in (answer, reference))
    if said is not None and meant is not None:
        return said == meant
    left, right = read_number(answer), read_number(reference)
    if left and right:
        return numbers_equal(left, right, algebra.tolerance)
    a, b = _shape_of(answer, "answer"), _shape_of(reference, "reference")
    # `123,456` is a number, but next to a set or a tuple it is a list.
    if left and (b.kind not in _COLLECTIONS or len(b.members) < 2):
        a = Shape("expression", answer)
    if right and (a.kind not in _COLLECTIONS or len(a.members) < 2):
        b = Shape("expression", reference)
    return _alike(a, b, algebra) if a.kind == b.kind else _unlike(a, b, algebra)


def is_collection(reference: str) -> bool:
    """Whether a tidied answer has several members, as a list or a set."""
    try:
        found = shape(reference)
    except Unreadable:
        return False
    return found.kind in ("list", "set") and len(found.members) > 1


def _shape_of(text: str, side: str) -> Shape:
    try:
        return shape(text)
    except Unreadable:
        raise Unreadable(side) from None


def _alike(a: Shape, b: Shape, algebra: Algebra) -> bool:
    if a.variable and b.variable and a.variable != b.variable:
        return False
    match a.kind:
        case "expression":
            return _same_expressions(a.text, b.text, algebra)
        case "list" | "set":
            return _unordered(a.members, b.members, algebra)
        case "tuple":
            is_pair = len(a.members) == 2  # and may be an interval
            return (not is_pair or a.brackets == b.brackets) and _ordered(a, b, algebra)
        case "union":
            return _unordered(a.members, b.members, algebra) or algebra.regions(a.text, b.text)
        case "matrix":
            return a.columns == b.columns and _ordered(a, b, algebra)
        case "relation":
            return _same_relations(a, b, algebra)
    return False  # texts that differ


def _unlike(a: Shape, b: Shape, algebra: Algebra) -> bool:
    kinds = {a.kind, b.kind}
    if (inner := _inner(a, b)) is not None:
        return same(inner, b.text, algebra)
    if (inner := _inner(b, a)) is not None:
        return same(a.text, inner, algebra)
    if kinds in ({"list", "set"}, {"list", "union"}):
        return _unordered(a.members, b.members, algebra)
    if kinds == {"list", "tuple"}:
        pair = a if a.kind == "tuple" else b
        return (pair.brackets == "()" or len(pair.members) > 2) and _ordered(a, b, algebra)
    if kinds == {"matrix", "expression"}:
        return algebra.expressions(a.text, b.text)
    if a.variable or b.variable:
        return "relation" in kinds and algebra.relations(a.text, b.text)
    is_region = "union" in kinds or kinds == {"relation", "tuple"}
    if is_region or _REGION.search(a.text) or _REGION.search(b.text):
        return "text" not in kinds and algebra.regions(a.text, b.text)
    return False


def _same_expressions(answer: str, reference: str, algebra: Algebra) -> bool:
    (left, left_unit), (right, right_unit) = split_unit(answer), split_unit(reference)
    if not units_agree(left_unit, right_unit):
        return False
    if comparable(left) == comparable(right):
        return True
    return algebra.expressions(left, right)


def _same_relations(a: Shape, b: Shape, algebra: Algebra) -> bool:
    names = [side.members[0] if _named_value(side) is not None else None for side in (a, b)]
    if None not in names and comparable(names[0]) == comparable(names[1]):
        return same(a.members[-1], b.members[-1], algebra)
    return algebra.relations(a.text, b.text)


def _inner(outer: Shape, other: Shape) -> str | None:
    """The value that is named, or the only member of a set, where `other` is bare."""
    if outer.kind == "relation":
        return _named_value(outer)
    is_alone = outer.kind == "set" and len(outer.members) == 1 and other.kind not in _COLLECTIONS
    return outer.members[0] if is_alone else None


def _named_value(relation: Shape) -> str | None:
    """What `x=5`, `f(x)=2x` or `2+3=5` gives as the answer; None if it is more than that."""
    first, last = relation.members[0], relation.members[-1]
    is_name = _NAMED.fullmatch(first) or not _LETTER.search(first + last)
    return last if is_name and set(relation.signs) == {"="} else None


def _ordered(a: Shape, b: Shape, algebra: Algebra) -> bool:
    if len(a.members) != len(b.members):
        return False
    pairs = zip(a.members, b.members, strict=True)
    return all(same(left, right, algebra) for left, right in pairs)


def _unordered(left: tuple[str, ...], right: tuple[str, ...], algebra: Algebra) -> bool:
    a, b = dict.fromkeys(map(_key, left)), dict.fromkeys(map(_key, right))
    missing, spare = [key for key in a if key not in b], [key for key in b if key not in a]
    if len(missing) != len(spare):
        return False
    if len(missing) > MAX_UNMATCHED:
        raise Unreadable("answer")
    for member in missing:
        partner = next((other for other in spare if same(member, other, algebra)), None)
        if partner is None:
            return False
        spare.remove(partner)
    return True


def _key(member: str) -> str:
    """The member, spelt alike for equal fractions and texts."""
    number = read_number(member)
    is_plain = number and not number.unit and not number.is_decimal
    return str(number.value) if is_plain else comparable(member)
