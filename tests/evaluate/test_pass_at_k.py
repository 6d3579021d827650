from itertools import combinations
from math import prod

import evaluate
import pytest

from align.errors import AlignError
from align.evaluate.pass_at_k import PassAtK, pass_at_k


def test_published_values():
    assert pass_at_k(200, 10, 1) == 0.05
    assert pass_at_k(200, 10, 10) == pytest.approx(0.408548, abs=5e-7)
    assert pass_at_k(5, 2, 2) == 0.7


@pytest.mark.parametrize(("n", "c", "k"), [(200, 10, 10), (200, 1, 100), (1000, 3, 7), (64, 0, 8)])
def test_it_is_the_product_form_of_the_paper(n, c, k):
    expected = 1.0 if n - c < k else 1 - prod(1 - k / i for i in range(n - c + 1, n + 1))
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-12)


def test_it_is_the_share_of_draws_with_a_correct_sample():
    samples = [True, False, False, True, False, False]
    for k in range(1, 7):
        draws = list(combinations(samples, k))
        assert pass_at_k(6, 2, k) == sum(map(any, draws)) / len(draws)


def test_large_counts_neither_overflow_nor_lose_the_small_chance():
    assert pass_at_k(100_000, 1, 50_000) == 0.5
    assert pass_at_k(10**9, 1, 1) == 1e-9


@pytest.mark.parametrize("numbers", [(4, 2, 5), (4, 2, 0), (4, 5, 1), (4, -1, 1), (0, 0, 1)])
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(AlignError):
        pass_at_k(*numbers)


def test_the_metric_is_the_mean_over_problems_of_any_number_of_samples():
    metric = PassAtK()
    assert isinstance(metric, evaluate.Metric)
    outcomes = [[True, False, False, True, False], [False, False], [True, True, True]]
    found = metric.compute(predictions=outcomes, k=[1, 2])
    assert found == pytest.approx({"pass@1": (0.4 + 0 + 1) / 3, "pass@2": (0.7 + 0 + 1) / 3})
    ones = [[int(outcome) for outcome in row] for row in outcomes]
    assert PassAtK().compute(predictions=ones, k=1) == {"pass@1": found["pass@1"]}


def test_problems_may_come_in_batches():
    metric = PassAtK()
    metric.add_batch(predictions=[[1, 0]])
    metric.add(predictions=[0, 0])
    assert metric.compute(k=2) == {"pass@2": 0.5}


def test_what_is_no_outcome_is_refused_and_named():
    with pytest.raises(AlignError, match=r"problem 1 has undecided samples \(None\)"):
        PassAtK().compute(predictions=[[True], [None, True]], k=1)
    for odd in (0.5, 2, float("nan")):
        with pytest.raises(AlignError, match="problem 0 has the outcome"):
            PassAtK().compute(predictions=[[odd]], k=1)
    with pytest.raises(AlignError, match="at least k samples"):
        PassAtK().compute(predictions=[[True, False], [True]], k=2)
    with pytest.raises(AlignError, match="at least one"):
        PassAtK().compute(predictions=[], k=1)
