"""Verifier "instructions": the 25 verifiable constraints of IFEval (2311.07911), strict and loose.

    instructions.check(response, constraints, mode="loose")   a Verdict for each constraint
    instructions.verify(completion, reference)                one for all of them

The verdicts are those of the published checkers, but for four things. Nothing is drawn at random:
an argument that is missing or out of range is an error. A keyword is a text, not a regular
expression. A language that cannot be detected is undecided, not followed. Sentences are split by
the published rules with word lists of our own, so a count may differ by one in odd texts.
"""

from verifiers.instructions.judging import MAX_CHARS, check, verify
from verifiers.instructions.table import CONSTRAINTS, NAMES

__all__ = ["CONSTRAINTS", "MAX_CHARS", "NAMES", "check", "verify"]
