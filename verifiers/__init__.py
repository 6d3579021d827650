"""Is this completion right? Verifiers answer True, False, or None when they could not tell.

    verifiers.get("math")(completion, reference)          a Verdict
    verifiers.math.verify_batch(completions, references)  many at once
    verifiers.code.grade(program, tests)                  unit tests, in a sandbox
    verifiers.instructions.check(response, constraints)   a Verdict for each constraint

A verifier is any callable `verify(completion, reference, **columns) -> Verdict`.
"""

from verifiers import choice, code, format, functions, instructions, logic, math, puzzles, tables
from verifiers.grading import grade, grade_all
from verifiers.registry import NAMES, get
from verifiers.sandbox import Execution, Limits, Sandbox, SandboxUnavailable, Test
from verifiers.verdict import Verdict, VerifierError, concurrent

__align_toolkit__ = True

__all__ = [
    "NAMES",
    "Execution",
    "Limits",
    "Sandbox",
    "SandboxUnavailable",
    "Test",
    "Verdict",
    "VerifierError",
    "choice",
    "code",
    "concurrent",
    "format",
    "functions",
    "get",
    "grade",
    "grade_all",
    "instructions",
    "logic",
    "math",
    "puzzles",
    "tables",
]
