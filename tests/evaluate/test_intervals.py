import math
import random

import pytest

from align.evaluate import newcombe, ratio_interval, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_values_of_newcombe_1998_table_1(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_difference_gives_the_values_of_newcombe_1998_method_10(a, b, low, high):
    assert newcombe(*a, *b) == pytest.approx((low, high), abs=5e-5)


def test_nothing_observed_is_nothing_known():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least one case"):
        newcombe(0, 0, 1, 2)
    with pytest.raises(ValueError, match="between 0 and n"):
        wilson(3, 2)


def test_ratio_of_equal_sizes_is_the_interval_of_a_mean():
    values = [1.0, 2.0, 4.0, 7.0]
    error = math.sqrt(sum((v - 3.5) ** 2 for v in values) / 3 / 4)
    low, high = ratio_interval(values, [1.0] * 4)
    assert (low, high) == pytest.approx((3.5 - 1.95996 * error, 3.5 + 1.95996 * error), abs=1e-4)


def test_ratio_interval_covers_the_truth_as_often_as_it_says():
    draw = random.Random(0)
    hits = 0
    for _ in range(1000):
        sizes = [draw.randint(5, 200) for _ in range(60)]
        totals = [size * 2.0 + draw.gauss(0, 0.3) * size for size in sizes]
        low, high = ratio_interval(totals, sizes)
        hits += low <= 2.0 <= high
    assert 0.92 < hits / 1000 < 0.97


def test_one_pair_has_no_bounds():
    assert ratio_interval([3.0], [2.0]) == (-math.inf, math.inf)
