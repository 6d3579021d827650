"""Verifiers by name."""

from collections.abc import Callable
from pathlib import Path

from verifiers import choice, code, format, functions, instructions, logic, math, puzzles, tables
from verifiers.loading import load_callable
from verifiers.suggest import did_you_mean
from verifiers.verdict import Verdict

Verifier = Callable[..., Verdict]

_VERIFIERS: dict[str, Verifier] = {
    "math": math.verify,
    "code": code.verify,
    "function": functions.verify,
    "instructions": instructions.verify,
    "tables": tables.verify,
    "choice": choice.verify,
    "logic": logic.verify,
    "format": format.verify,
    "reasoning_gym": puzzles.verify,
}

NAMES = tuple(_VERIFIERS)


def get(name: str, root: Path | None = None) -> Verifier:
    """A verifier by its name, or by `file.py:name` (relative to `root`) or `package.module:name`.

    `root` is the working directory by default. Raises ValueError for an unknown name or a spec
    that leads nowhere.
    """
    if ":" in name:
        return load_callable(name, root or Path())
    if name not in _VERIFIERS:
        raise ValueError(f"unknown verifier '{name}'{did_you_mean(name, NAMES)}")
    return _VERIFIERS[name]
