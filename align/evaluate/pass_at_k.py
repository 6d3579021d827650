"""How likely one of k samples solves a problem."""

from collections.abc import Sequence
from math import comb, fsum

import datasets
import evaluate

from align.errors import AlignError

_DESCRIPTION = "The chance that at least one of k samples solves a problem, averaged over problems."
_INPUTS = """
predictions: for each problem the outcomes of its samples, True or 1 for right, False or 0 for not.
k: a number of samples, or several; at most as many as any problem has.
"""
_CITATION = """@article{chen2021evaluating,
  title={Evaluating Large Language Models Trained on Code},
  author={Mark Chen and others},
  journal={arXiv:2107.03374},
  year={2021}
}"""


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Chance that k of the samples, drawn without replacement, hold a correct one.

    The unbiased estimator of Chen et al. 2021 (2107.03374, eq. 1): 1 - C(n - c, k) / C(n, k), in
    whole numbers, so that nothing is lost to rounding. k=1 is the mean, k=n is "any of them".
    Raises AlignError for k or num_correct out of range.
    """
    if not 1 <= k <= num_samples:
        raise AlignError(
            f"pass@{k} of {num_samples} samples: draw at least k samples for each problem, and ask "
            "for k of 1 or more"
        )
    if not 0 <= num_correct <= num_samples:
        raise AlignError(
            f"{num_correct} correct of {num_samples} samples: give a number between 0 and all"
        )
    draws = comb(num_samples, k)
    return (draws - comb(num_samples - num_correct, k)) / draws


class PassAtK(evaluate.Metric):
    """pass@k as a metric of the `evaluate` library; needs no network.

        PassAtK().compute(predictions=[[True, False], [False, False]], k=[1, 2])
        {"pass@1": 0.25, "pass@2": 0.5}

    Problems may have different numbers of samples, each at least k. An undecided sample (None) is
    refused, since it is neither right nor wrong: leave it out of its problem's samples, and report
    how many were. Raises AlignError for that, for an outcome that is no truth value, for no
    problems, and as `pass_at_k`.
    """

    def _info(self) -> evaluate.MetricInfo:
        # As numbers: the library's truth values take 0.5 and "a" for True.
        outcomes = datasets.List(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            inputs_description=_INPUTS,
            citation=_CITATION,
            features=datasets.Features({"predictions": outcomes}),
        )

    def _compute(
        self, predictions: Sequence[Sequence[float | None]], k: int | Sequence[int] = 1
    ) -> dict[str, float]:
        if not len(predictions):
            raise AlignError("no problems to compute pass@k of: give at least one")
        counts = [_count(number, outcomes) for number, outcomes in enumerate(predictions)]
        return {
            f"pass@{size}": fsum(pass_at_k(n, c, size) for n, c in counts) / len(counts)
            for size in ([k] if isinstance(k, int) else k)
        }


def _count(problem: int, outcomes: Sequence[float | None]) -> tuple[int, int]:
    """Samples, and the correct ones among them."""
    if None in outcomes:
        raise AlignError(
            f"problem {problem} has undecided samples (None): leave them out of its samples, and "
            "report how many there were"
        )
    odd = [outcome for outcome in outcomes if outcome not in (0, 1)]
    if odd:
        raise AlignError(f"problem {problem} has the outcome {odd[0]}: give True or 1, False or 0")
    return len(outcomes), sum(map(int, outcomes))
