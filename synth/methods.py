"""Synthesis methods by name."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from synth import rejection_sampling
from synth.synthesis import Row, Synthesis, SynthesisError
from verifiers.suggest import did_you_mean

_METHODS = {"rejection_sampling": rejection_sampling}


def settings(method: str) -> type:
    """The frozen dataclass of a method's settings. Raises SynthesisError for an unknown method."""
    return _module(method).Settings


def run(method: str, prompts: Sequence[Row], engine: Any, **chosen: Any) -> Synthesis:
    """Make rows from `prompts` by `method`, sampling from `engine` (`align.generate.Engine`).

    Raises SynthesisError for an unknown method or setting, a value out of range, or a prompt row
    that lacks a column.
    """
    module = _module(method)
    known = [field.name for field in fields(module.Settings)]
    for name in chosen:
        if name not in known:
            raise SynthesisError(f"{method} has no setting '{name}'{did_you_mean(name, known)}")
    try:
        filled = module.Settings(**chosen)
    except TypeError as error:  # a setting without a default was not given
        raise SynthesisError(f"{method}: {error}") from None
    return module.run(prompts, engine, filled)


def _module(method: str) -> Any:
    if method not in _METHODS:
        raise SynthesisError(f"unknown synthesis method '{method}'{did_you_mean(method, _METHODS)}")
    return _METHODS[method]
