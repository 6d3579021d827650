"""Confidence intervals for the numbers a report shows."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """Lower and upper end."""

    low: float
    high: float


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of a proportion by the score method (Wilson 1927; no continuity correction).

    Stays within [0, 1] and has a sensible width at 0 and n successes. (0, 1) when n is 0: nothing
    is known. Raises ValueError unless 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: successes must lie between 0 and n")
    if n == 0:
        return Interval(0.0, 1.0)
    z = _quantile(confidence)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Rounding may leave the exact ends 0 and 1 off by a hair.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return Interval(low, high)


def newcombe(
    successes_a: int, n_a: int, successes_b: int, n_b: int, confidence: float = 0.95
) -> Interval:
    """Interval of the difference a - b of two independent proportions.

    Newcombe 1998, method 10 (hybrid score). For two models on the same prompts it is wider than
    need be when they tend to solve the same ones. Raises ValueError like `wilson`, and for an empty
    sample.
    """
    if n_a == 0 or n_b == 0:
        raise ValueError(
            f"samples of {n_a} and {n_b}: a difference needs at least one case in each"
        )
    a, b = successes_a / n_a, successes_b / n_b
    low_a, high_a = wilson(successes_a, n_a, confidence)
    low_b, high_b = wilson(successes_b, n_b, confidence)
    return Interval(
        a - b - math.hypot(a - low_a, high_b - b),
        a - b + math.hypot(high_a - a, b - low_b),
    )


def ratio_interval(
    totals: Sequence[float], sizes: Sequence[float], confidence: float = 0.95
) -> Interval:
    """Interval of sum(totals) / sum(sizes), where the pairs are independent draws.

    Cochran 1977, §2.11: the ratio estimator's delta-method variance and the normal quantile: a
    little too narrow below some 30 pairs. Unbounded with fewer than two pairs. Raises ValueError
    for unequal lengths and for sizes that sum to 0.
    """
    if len(totals) != len(sizes):
        raise ValueError(
            f"{len(totals)} totals and {len(sizes)} sizes: give one size for each total"
        )
    size = math.fsum(sizes)
    if size == 0:
        raise ValueError("the sizes sum to 0: there is nothing to average")
    count = len(totals)
    if count < 2:
        return Interval(-math.inf, math.inf)
    ratio = math.fsum(totals) / size
    squares = math.fsum((t - ratio * s) ** 2 for t, s in zip(totals, sizes, strict=True))
    error = math.sqrt(count / (count - 1) * squares) / size
    half = _quantile(confidence) * error
    return Interval(ratio - half, ratio + half)


def _quantile(confidence: float) -> float:
    """The standard normal's two-sided quantile, 1.96 for 0.95."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: give a number between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf((1 + confidence) / 2)
