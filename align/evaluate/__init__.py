"""Metrics, each with its uncertainty. Nothing is downloaded.

`align.evaluate.pass_at_k` is imported by itself: the library behind its metric takes seconds.
"""

from align.evaluate.accuracy import accuracy
from align.evaluate.intervals import Interval, newcombe, ratio_interval, wilson
from align.evaluate.perplexity import perplexity

__all__ = ["Interval", "accuracy", "newcombe", "perplexity", "ratio_interval", "wilson"]
