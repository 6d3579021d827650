"""What verdicts say of a program, and what of the machine and the moment."""

from verifiers.sandbox.execution import UNDECIDED

OUT_OF_TIME = frozenset({"time_cpu", "time_wall"})

PASSING = frozenset({*UNDECIDED, "time_wall", "timeout", "verifier_error"})
"""Another time it may be otherwise, so these are not kept in the store."""


def word_of(verdict: str) -> str:
    """The verdict as a reason: which clock ran out first depends on how busy the machine is."""
    return "out_of_time" if verdict in OUT_OF_TIME else verdict
