"""JSON as RFC 8259 has it: Python's own reader takes NaN, and the last of two equal keys."""

import json
import math
import re
from typing import Any

MAX_DEPTH = 64
"""Of arrays and objects in each other; far below what would exhaust Python's stack."""

# Strings are skipped whole (possessively: an open one must not be tried again at each quote).
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|$)|(?P<open>[\[{])|(?P<close>[\]}])', re.DOTALL)


class StrictJSONError(ValueError):
    """The text can't be read; reason is `not_json`, `duplicate_key` or `too_deep`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def loads(text: str) -> Any:
    """The value. Raises StrictJSONError: no JSON, a key twice in an object, nested too deep."""
    depth = 0
    for found in _BRACKET.finditer(text):
        depth += bool(found["open"]) - bool(found["close"])
        if depth > MAX_DEPTH:
            raise StrictJSONError("too_deep", f"more than {MAX_DEPTH} levels")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no, parse_float=_finite)
    except StrictJSONError:
        raise
    except ValueError as error:  # also for a whole number of more than 4300 digits
        raise StrictJSONError("not_json", str(error)) from None


def array_or_object(text: str) -> list[Any] | dict[str, Any] | None:
    """The array or object that a text is, or None if it is something else."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return loads(text)
    except StrictJSONError:
        return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys: set[str] = set()
    for key, _ in pairs:
        if key in keys:
            raise StrictJSONError("duplicate_key", f"{key[:80]!r} stands twice in an object")
        keys.add(key)
    return dict(pairs)


def _no(constant: str) -> Any:
    raise StrictJSONError("not_json", f"{constant} is not in JSON")


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise StrictJSONError("not_json", f"{text[:80]} is beyond the largest float")
    return float(text)
