"""Is this completion right? Verifiers answer True, False, or None when they could not tell.

    verifiers.get("math")(completion, reference)   a Verdict
    verifiers.math.verify_batch(...)               many at once

A verifier is any callable `verify(completion, reference, **columns) -> Verdict`.
"""

from verifiers import math, puzzles
from verifiers.grading import grade
from verifiers.registry import NAMES, get
from verifiers.verdict import Verdict, VerifierError

__align_toolkit__ = True

__all__ = ["NAMES", "Verdict", "VerifierError", "get", "grade", "math", "puzzles"]
