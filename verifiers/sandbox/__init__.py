"""Run programs nobody has read, and say what became of them.

    with Sandbox() as sandbox:
        sandbox.run("python", "print(input()[::-1])", stdin="abc").last.stdout.text

A sandbox that can't isolate refuses to start.
"""

from verifiers.sandbox.client import Sandbox
from verifiers.sandbox.execution import (
    COMPILE_LIMITS,
    VERDICTS,
    Call,
    Execution,
    Isolation,
    Limits,
    Output,
    SandboxUnavailable,
    Step,
    Test,
)
from verifiers.sandbox.toolchains import Missing, Toolchain, survey

__all__ = [
    "COMPILE_LIMITS",
    "VERDICTS",
    "Call",
    "Execution",
    "Isolation",
    "Limits",
    "Missing",
    "Output",
    "Sandbox",
    "SandboxUnavailable",
    "Step",
    "Test",
    "Toolchain",
    "survey",
]
