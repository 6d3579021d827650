"""Reward functions by name."""

import inspect
from pathlib import Path

import verifiers
from rewards.checked import RewardError
from rewards.verified import Reward, from_verifier
from verifiers.loading import load_callable
from verifiers.suggest import did_you_mean

_registered: dict[str, Reward] = {}


def reward(function: Reward) -> Reward:
    """Register a reward function under its own name; a decorator.

    Defining the same function again (a notebook cell, an edited file) replaces it. Raises
    RewardError if the name is that of a verifier or of another module's function.
    """
    name = function.__name__
    if name in verifiers.NAMES:
        raise RewardError(f"'{name}' is a verifier's name; name your reward function otherwise")
    other = _registered.get(name)
    if other is not None and other.__module__ != function.__module__:
        raise RewardError(
            f"a reward '{name}' is already registered by {other.__module__}; rename one of them"
        )
    _registered[name] = function
    return function


def sources() -> dict[str, str]:
    """Source text of each registered function by name; part of what a run's stages are made of.

    Raises RewardError for a function typed at a prompt, whose source nobody keeps.
    """
    found = {}
    for name, function in _registered.items():
        try:
            found[name] = inspect.getsource(function)
        except OSError:
            raise RewardError(
                f"the source of reward '{name}' cannot be read; define it in a file or a notebook"
            ) from None
    return found


def resolve(spec: str, root: Path) -> Reward:
    """The reward function that `spec` names.

    spec: a registered name, a verifier's name, `file.py:name` (relative to `root`) or
    `package.module:name`. Raises RewardError with the known names, or why the spec leads nowhere.
    """
    if ":" in spec:
        return load_callable(spec, root)
    if spec in _registered:
        return _registered[spec]
    if spec in verifiers.NAMES:
        return from_verifier(spec)
    hint = did_you_mean(spec, [*_registered, *verifiers.NAMES])
    raise RewardError(f"unknown reward '{spec}'{hint}; or write 'file.py:name'")
