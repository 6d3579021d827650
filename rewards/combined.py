"""Several reward functions as one."""

from collections.abc import Sequence
from typing import Any

from rewards.checked import checked, name_of
from rewards.verified import Reward


def combine(functions: Sequence[Reward], weights: Sequence[float]) -> Reward:
    """The weighted sum of reward functions, row by row; named `a+b`.

    A None is left out of its row's sum; a row with nothing but None is None. Raises ValueError if
    there is not one weight a function, and RewardError for an unusable reward (see `checked`).
    """
    if not functions or len(functions) != len(weights):
        raise ValueError(
            f"{len(functions)} reward functions and {len(weights)} weights; give one weight each"
        )
    parts = [checked(function) for function in functions]

    def combined(
        completions: list[Any], prompts: list[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        scores = [part(completions, prompts=prompts, **columns) for part in parts]
        return [_weighted_sum(row, weights) for row in zip(*scores, strict=True)]

    combined.__name__ = "+".join(name_of(function) for function in functions)
    return combined


def _weighted_sum(row: Sequence[float | None], weights: Sequence[float]) -> float | None:
    terms = [w * score for w, score in zip(weights, row, strict=True) if score is not None]
    return sum(terms) if terms else None
