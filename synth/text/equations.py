"""The equations that a worked answer computes by (RFT, arXiv 2308.01825 §3.3)."""

import ast
import operator
import re
from fractions import Fraction

_ANNOTATED = re.compile(r"<<([^<>=]{1,200})=([^<>=]{1,60})>>")
_RIGHT = re.compile(r"=\s*(-?\$?\d[\d,]*(?:\.\d+)?%?)")
_LEFT = re.compile(r"[-+*/x\N{MULTIPLICATION SIGN}\N{DIVISION SIGN}()\d.,$%\s]*$")
_SIGNS = {"\N{MULTIPLICATION SIGN}": "*", "x": "*", "\N{DIVISION SIGN}": "/"}
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_TOLERANCE = Fraction(1, 1000)
_MAX_CHARS = 20_000
_MAX_LEFT = 200


def equations(text: str) -> tuple[str, ...]:
    """Its equations without spaces, in order: GSM8K's `<<1+2=3>>` where there are any, else plain
    arithmetic such as `1 + 2 = 3`. Of a text longer than 20,000 characters only the start is read.
    """
    text = text[:_MAX_CHARS]
    found = _ANNOTATED.findall(text) or _plain(text)
    return tuple(f"{_bare(left)}={_bare(right)}" for left, right in found)


def _plain(text: str) -> list[tuple[str, str]]:
    """Each number behind an equals sign, with the sum or product that ends before it."""
    found = []
    for right in _RIGHT.finditer(text):
        before = text[max(0, right.start() - _MAX_LEFT) : right.start()].rpartition("\n")[2]
        before = re.split(r"[,.;:]\s", before.rpartition("=")[2])[-1]
        left = _LEFT.search(before)[0].strip(" .,")
        if re.search(r"\d.*[-+*/x\N{MULTIPLICATION SIGN}\N{DIVISION SIGN}].*\d", left):
            found.append((left, right[1]))
    return found


def first_wrong(text: str) -> str | None:
    """The first equation whose sides differ by more than a thousandth of the right one, or None.

    What can't be evaluated is not called wrong.
    """
    for equation in equations(text):
        left, right = (_value(side) for side in equation.split("="))
        if left is None or right is None:
            continue
        if abs(left - right) > _TOLERANCE * max(1, abs(right)):
            return equation
    return None


def _bare(side: str) -> str:
    side = re.sub(r"[\s,$]", "", side)
    return "".join(_SIGNS.get(character, character) for character in side)


def _value(side: str) -> Fraction | None:
    side = re.sub(r"(\d+(?:\.\d+)?)%", r"(\1/100)", side)
    try:
        return _evaluated(ast.parse(side, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _evaluated(node: ast.expr) -> Fraction:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluated(node.left), _evaluated(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluated(node.operand)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(str(node.value))
    raise ValueError("not arithmetic")
