"""When cases, functions and responses are good enough: by the paper, and by its released code."""

import operator
import re
from dataclasses import dataclass
from typing import Any

from synth.synthesis import SynthesisError

_SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_BOUND = re.compile(r"([<>]=?) *(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Thresholds:
    """The settings of the same names say what each is about."""

    case_kept: str
    function_kept: str
    min_functions: int
    min_cases: int
    back_translations: int | None
    min_query_chars: int
    max_query_chars: int | None
    response_kept: str
    quality_kept: str
    chosen_kept: str
    rejected_kept: str


PRESETS = {
    "paper": Thresholds(
        case_kept="> 0.5",
        function_kept="> 0.5",
        min_functions=1,
        min_cases=1,
        back_translations=None,
        min_query_chars=1,
        max_query_chars=None,
        response_kept="> 0.5",
        quality_kept=">= 8",
        chosen_kept="> 0.5",
        rejected_kept="<= 0",
    ),
    "released": Thresholds(
        case_kept="> 0",
        function_kept=">= 0.8",
        min_functions=3,
        min_cases=10,
        back_translations=3,
        min_query_chars=21,
        max_query_chars=299,
        response_kept="> 0",
        quality_kept="> 8",
        chosen_kept=">= 0.5",
        rejected_kept="<= 0",
    ),
}

BOUNDS = ("case_kept", "function_kept", "response_kept", "quality_kept", "chosen_kept")
"""What is good has a lower bound; `rejected_kept` has an upper one."""


def meets(value: float, bound: str) -> bool:
    """Whether the value is as the bound says, such as "> 0.5" or ">= 8"."""
    sign, limit = _BOUND.fullmatch(bound).groups()  # type: ignore[union-attr]
    return _SIGNS[sign](value, float(limit))


def check_bound(name: str, bound: Any, sign: str) -> None:
    """Raises SynthesisError for what is no bound in the direction of `sign`."""
    found = _BOUND.fullmatch(bound) if isinstance(bound, str) else None
    if found is None or found[1][0] != sign:
        raise SynthesisError(
            f"{name} is {bound!r}; give a bound in quotes, as '{sign} 0.5' or '{sign}= 0.5'"
        )
