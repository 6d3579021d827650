"""A constitution: principles in a YAML file."""

import hashlib
import random
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from synth.flow.templates import PROMPTS
from synth.synthesis import SynthesisError
from verifiers.suggest import did_you_mean


@dataclass(frozen=True)
class Principle:
    """What a response is held to.

    rule: what a good response does. critique: what to look for in one. revision: how to rewrite one
    so that it follows. avoid: what one does that breaks the rule on purpose.
    """

    name: str
    rule: str
    critique: str
    revision: str
    avoid: str | None = None


_KEYS = [field.name for field in fields(Principle)]
_REQUIRED = [field.name for field in fields(Principle) if field.default is MISSING]


def read(path: Path | None, language: str = "en") -> tuple[Principle, ...]:
    """The principles of a file, or of our own in the language where there is one.

    Raises SynthesisError with the file and line of the first mistake.
    """
    if path is None:
        ours = PROMPTS / "constitutional"
        path = ours / f"default.{language}.yaml"
        if not path.is_file():
            path = ours / "default.yaml"
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError as error:
        raise SynthesisError(f"constitution {path} can't be read: {error.strerror}") from None
    return _read(path, changed_ns)


def drawn(principles: tuple[Principle, ...], key: str) -> list[Principle]:
    """All of them in an order that follows from `key` alone."""
    rng = random.Random(hashlib.sha256(key.encode()).digest())
    return rng.sample(principles, len(principles))


@lru_cache(maxsize=16)
def _read(path: Path, _changed_ns: int) -> tuple[Principle, ...]:
    try:
        found = YAML(typ="rt", pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}" if mark else ""
        problem = (error.problem or error.context or "a mistake").splitlines()[0]
        raise SynthesisError(f"{path}{at}: this is not YAML: {problem}") from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise SynthesisError(f"{path} can't be read: {error}") from None
    if not isinstance(found, CommentedSeq) or not found:
        raise SynthesisError(
            f"{path}:1: a constitution is a list of principles, each with {', '.join(_REQUIRED)}"
        )
    principles: dict[str, Principle] = {}
    for place, entry in enumerate(found):
        line = found.lc.item(place)[0] + 1
        principle = _principle(entry, path, line)
        if principle.name in principles:
            raise SynthesisError(f"{path}:{line}: there are two principles '{principle.name}'")
        principles[principle.name] = principle
    return tuple(principles.values())


def _principle(entry: Any, path: Path, line: int) -> Principle:
    if not isinstance(entry, CommentedMap):
        raise SynthesisError(f"{path}:{line}: a principle is a mapping with {', '.join(_KEYS)}")
    for key, text in entry.items():
        at = f"{path}:{entry.lc.key(key)[0] + 1}"
        if key not in _KEYS:
            raise SynthesisError(
                f"{at}: unknown key '{key}' in a principle{did_you_mean(str(key), _KEYS)}"
            )
        if not isinstance(text, str) or not text.strip():
            raise SynthesisError(f"{at}: {key} is {text!r}; give some text")
    missing = [key for key in _REQUIRED if key not in entry]
    if missing:
        raise SynthesisError(f"{path}:{line}: this principle has no {', '.join(missing)}")
    return Principle(**{key: str(text).strip() for key, text in entry.items()})
