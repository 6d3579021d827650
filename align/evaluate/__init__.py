"""Metrics, each with its uncertainty. Nothing is downloaded."""

from align.evaluate.accuracy import accuracy
from align.evaluate.intervals import Interval, newcombe, ratio_interval, wilson
from align.evaluate.perplexity import perplexity

__all__ = ["Interval", "accuracy", "newcombe", "perplexity", "ratio_interval", "wilson"]
