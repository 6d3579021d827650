"""Verifier "code": a program is right if it passes its tests, in a sandbox.

A Python function runs in one process and its tests in another, so it can't talk them round; other
programs are run once a test, and their output is compared outside.
"""

from verifiers.code.judging import grade, sandbox, use, verify
from verifiers.code.programs import extract

__all__ = ["extract", "grade", "sandbox", "use", "verify"]
