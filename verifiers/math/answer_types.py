r"""What kind of thing an answer is.

A set `\{1,2\}`, a list `1, 2`, a tuple or interval `(1,2]`, a union of intervals, a matrix, an
equation or inequality, a text; anything else is an expression. Members are taken apart here, so
that `\{123,456\}` is never the number 123456, and an inequality in one variable becomes the
interval that it describes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from verifiers.math.notation import FUNCTIONS
from verifiers.math.numbers import read_unit

MAX_DEPTH = 40
"""Brackets nested deeper are not read."""


class Unreadable(Exception):
    """An answer that can't be read. side: `answer` or `reference`, once that is known."""

    def __init__(self, side: str = "") -> None:
        super().__init__(side)
        self.side = side


@dataclass(frozen=True)
class Shape:
    """kind: expression, text, list, set, tuple, union, matrix or relation.

    members: of a relation, what stands between its signs; of a matrix, its entries row by row.
    brackets: of a tuple. signs: of a relation. columns: of a matrix. variable: of an interval that
    was an inequality.
    """

    kind: str
    text: str
    members: tuple[str, ...] = ()
    brackets: str = ""
    signs: str = ""
    columns: int = 0
    variable: str = ""


_LE, _GE, _NE = "\u2264\u2265\u2260"
_SIGNS = f"<>={_LE}{_GE}{_NE}"
_FLIPPED = str.maketrans(f"<>{_LE}{_GE}", f"><{_GE}{_LE}")
_PARTS = re.compile(r"\\[{}]|\\[a-zA-Z]+|.", re.DOTALL)
_OPENING = frozenset(("(", "[", "{", r"\{", r"\langle"))
_CLOSING = frozenset((")", "]", "}", r"\}", r"\rangle"))
_AND_OR = re.compile(r",?\s*(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])")
_THOUSANDS = re.compile(r"^([+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?=\s*\\?[a-zA-Z])")

_VARIABLE = re.compile(r"(?!\\(?:pi|infty)|e$)\\?[a-zA-Z]+(?:_\{?\w+\}?)?'?")
_LETTER = re.compile(r"(?<![\\a-zA-Z])[a-df-hj-zA-Z]")
_MEMBER_OF = re.compile(r"\\?[a-zA-Z]\s*\\in(?![a-zA-Z])\s*")
_BUILDER = re.compile(r"\\\{\s*[a-zA-Z]\s*(?:\\mid|\\vert|\||:)\s*(.*)\\\}")
_MATRIX = re.compile(r"\\begin\{([pbB]?matrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end\{\1\}", re.DOTALL)
_ROW_END = re.compile(r"\\\\(?:\[[^\]]*\])?")

_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{\w+\}|\\operatorname\{\w+\}")
_WORDS = re.compile(r"(?<![\\a-zA-Z])[^\W\d_]{2,}")
_SHORT_WORDS = re.compile("no|is|it|if|in|on|at|an|as|of|to|we|by|be|he|so|up|do|go|am|pm")
_RATIO = re.compile(r"\d+(?:\s?:\s?\d+)+")
_TRIGONOMETRY = re.compile("sin|cos|tan|cot|sec|csc")
_UNIT_AT_END = re.compile(r"(?<=[\s\d})])(?:[%°]|(?<!\\)[^\W\d_][^\\()=]{0,40})$")


def shape(text: str) -> Shape:
    """The kind and members of a tidied answer. Raises Unreadable: nested too deeply."""
    text = text.strip()
    text = text[found.end() :] if (found := _MEMBER_OF.match(text)) else text
    text = found[1].strip() if (found := _BUILDER.fullmatch(text)) else text
    if found := _MATRIX.fullmatch(text):
        rows = [row.split("&") for row in _ROW_END.split(found[2]) if row.strip()]
        entries = tuple(entry.strip() for row in rows for entry in row)
        return Shape("matrix", text, entries, columns=len(rows[0]) if rows else 0)
    if text == r"\emptyset":
        return Shape("set", text)
    text = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text, count=1)
    members = _members(text)
    if len(members) > 1:
        return Shape("list", text, members)
    if left := _enclosing(text):
        return _bracketed(text, left)
    if "\\cup" in text:
        return Shape("union", text, tuple(part.strip() for part in text.split("\\cup")))
    if "\\pm" in text:
        plus, minus = text.replace("\\mp", "-"), text.replace("\\mp", "+")
        return Shape("list", text, (plus.replace("\\pm", "+"), minus.replace("\\pm", "-")))
    if any(True for _ in _top_level(text, _SIGNS)):
        return _relation(text)
    return Shape("text" if _is_text(split_unit(text)[0]) else "expression", text)


def split_unit(text: str) -> tuple[str, str]:
    """An expression without its trailing unit or leading currency; the unit in one spelling."""
    if text[:1] in ("$", "€", "£", "¥"):
        return text[1:].strip(), text[0]
    found = _UNIT_AT_END.search(text)
    while found:
        unit, rest = read_unit(found[0]), text[: found.start()].strip()
        is_angle = unit == "°" and _TRIGONOMETRY.search(rest)  # `\sin 30°` has no unit
        if unit is not None and rest and not is_angle:
            return rest, unit
        found = _UNIT_AT_END.search(text, found.start() + 1)
    return text, ""


def _top_level(text: str, wanted: str) -> Iterator[tuple[int, str]]:
    """Position and sign of each wanted character outside all brackets. Raises Unreadable."""
    depth = 0
    for found in _PARTS.finditer(text):
        part = found[0]
        if part in _OPENING:
            depth += 1
        elif part in _CLOSING:
            depth -= 1
        elif depth == 0 and part in wanted:
            yield found.start(), part
        if depth > MAX_DEPTH:
            raise Unreadable


def _members(text: str) -> tuple[str, ...]:
    """What `and`, `or` and commas separate, or semicolons if there are any; none is empty."""
    text = _AND_OR.sub(",", text)
    members, start = [], 0
    separators = list(_top_level(text, ",;"))
    finest = ";" if any(sign == ";" for _, sign in separators) else ","
    for at in (at for at, sign in separators if sign == finest):
        members.append(text[start:at].strip())
        start = at + 1
    members.append(text[start:].strip())
    return tuple(filter(None, members))


def _enclosing(text: str) -> str:
    """The opening bracket whose closing one ends the text, or "" if it does not."""
    opening = next(_PARTS.finditer(text), None)
    if opening is None or opening[0] not in _OPENING:
        return ""
    depth = 0
    for found in _PARTS.finditer(text):
        depth += (found[0] in _OPENING) - (found[0] in _CLOSING)
        if depth == 0:
            return opening[0] if found.end() == len(text) else ""
    return ""


def _bracketed(text: str, left: str) -> Shape:
    right = next(mark for mark in (r"\rangle", r"\}", text[-1]) if text.endswith(mark))
    inside = text[len(left) : len(text) - len(right)].strip()
    members = _members(inside)
    if left == r"\{":
        return Shape("set", text, members)
    if len(members) < 2:
        return shape(inside)
    if left == "{":  # not seen in print
        return Shape("list", text, members)
    brackets = "()" if left == r"\langle" else left + right
    return Shape("tuple", text, members, brackets)


def _relation(text: str) -> Shape:
    marks = list(_top_level(text, _SIGNS))
    starts = [0, *(at + 1 for at, _ in marks)]
    ends = [*(at for at, _ in marks), len(text)]
    members = tuple(text[start:end].strip() for start, end in zip(starts, ends, strict=True))
    signs = "".join(sign for _, sign in marks)
    return _interval(text, members, signs) or Shape("relation", text, members, signs=signs)


def _interval(text: str, members: tuple[str, ...], signs: str) -> Shape | None:
    """The interval that an inequality in one variable with constant bounds describes."""
    if len(members) == 2 and not _VARIABLE.fullmatch(members[0]):
        members, signs = members[::-1], signs.translate(_FLIPPED)
    elif len(members) == 3 and set(signs) <= set(f">{_GE}"):
        members, signs = members[::-1], signs[::-1].translate(_FLIPPED)
    variable = members[0] if len(members) == 2 else members[1]
    bounds = [member for member in members if member != variable]
    if not _VARIABLE.fullmatch(variable) or any(_LETTER.search(bound) for bound in bounds):
        return None
    if len(members) == 3 and len(bounds) == 2 and set(signs) <= set(f"<{_LE}"):
        brackets = ("[" if signs[0] == _LE else "(") + ("]" if signs[1] == _LE else ")")
        return Shape("tuple", text, tuple(bounds), brackets, variable=variable)
    if len(members) != 2 or len(bounds) != 1 or signs == "=":
        return None
    below = f"(-\\infty,{bounds[0]}" + ("]" if signs == _LE else ")")
    above = ("[" if signs == _GE else "(") + f"{bounds[0]},\\infty)"
    if signs == _NE:
        return Shape("union", text, (below, above), variable=variable)
    side = below if signs in f"<{_LE}" else above
    return Shape("tuple", text, _members(side[1:-1]), side[0] + side[-1], variable=variable)


def _is_text(text: str) -> bool:
    """Whether this holds words that are neither names of functions nor products of variables."""
    if _RATIO.fullmatch(text):
        return True
    return any(_is_word(word) for word in _WORDS.findall(_ENVIRONMENT.sub(" ", text)))


def _is_word(word: str) -> bool:
    if word in FUNCTIONS:
        return False
    if len(word) == 2:
        return _SHORT_WORDS.fullmatch(word.casefold()) is not None
    letters = sorted(map(ord, word))  # `abc` and `xyz` are products: a run of the alphabet
    return letters != list(range(letters[0], letters[0] + len(letters)))
