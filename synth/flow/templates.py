"""Prompts as text files: `synth/prompts/<method>/<name>.<language>.txt`.

A file starts with `version: 1`; then `[system]`, `[user]` and `[assistant]` on lines of their own
open messages. `$name` stands for a column, `$$` for a dollar sign. What a model is asked is part of
every key and of every row's provenance, so an edited file asks again just what it words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Template
from typing import Any

from synth.synthesis import SynthesisError

PROMPTS = Path(__file__).resolve().parent.parent / "prompts"

Conversation = list[dict[str, str]]

_ROLE = re.compile(r"^\[(system|user|assistant)\]\s*$", re.MULTILINE)
_VERSION = re.compile(r"version: *(\d+)\s*\n")


@dataclass(frozen=True)
class Prompt:
    """A conversation with blanks. `name` and `version` go into the provenance."""

    name: str
    version: int
    messages: tuple[tuple[str, Template], ...]

    def fill(self, columns: Mapping[str, Any], **more: Any) -> Conversation:
        """The conversation with its blanks filled. Raises SynthesisError for a missing column."""
        blanks = {**columns, **more} if more else columns
        try:
            return [
                {"role": role, "content": template.substitute(blanks)}
                for role, template in self.messages
            ]
        except KeyError as error:
            raise SynthesisError(
                f"{self.name}: there is no column {error} to fill ${error.args[0]} with; there "
                f"are {', '.join(sorted(blanks))}"
            ) from None


@dataclass(frozen=True)
class Prompts:
    """The prompt files of a method, in one language; files in `folder` come before ours."""

    method: str
    language: str = "en"
    folder: Path | None = None

    def get(self, name: str) -> Prompt:
        """Raises SynthesisError: no such file, or one that can't be read."""
        file = f"{name}.{self.language}.txt"
        own = [self.folder / file] if self.folder is not None else []
        for path in [*own, PROMPTS / self.method / file]:
            if path.is_file():
                return _read(path, f"{self.method}/{name}.{self.language}", path.stat().st_mtime_ns)
        known = sorted(p.name.split(".")[1] for p in (PROMPTS / self.method).glob(f"{name}.*.txt"))
        raise SynthesisError(
            f"{self.method} has no prompt '{name}' in language '{self.language}'"
            + (f"; there are {', '.join(known)}" if known else "")
        )


@lru_cache(maxsize=512)
def _read(path: Path, name: str, _changed_ns: int) -> Prompt:
    text = path.read_text(encoding="utf-8")
    version = _VERSION.match(text)
    if version is None:
        raise SynthesisError(f"{path}:1: a prompt file starts with a line as 'version: 1'")
    start, *parts = _ROLE.split(text[version.end() :])
    if start.strip() or not parts:
        raise SynthesisError(f"{path}:2: after the version comes [system] or [user]")
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    messages = tuple((role, Template(body.strip("\n"))) for role, body in pairs)
    for role, template in messages:
        if not template.is_valid():
            raise SynthesisError(f"{path}: [{role}] has a $ without a name; write $$ for a dollar")
    return Prompt(name, int(version[1]), messages)
