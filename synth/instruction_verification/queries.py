"""Queries that people ask, and which of them an instruction is attached to (§3.3)."""

import json
import random
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from synth.flow.templates import Conversation, Prompts
from synth.rows.messages import user
from synth.synthesis import SynthesisError

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Query:
    """A conversation that ends with what a user asks, `text`; `before` is all before that."""

    before: tuple[tuple[str, str], ...]
    text: str

    def with_last(self, filled: Conversation) -> Conversation:
        """The conversation with another end."""
        return [*({"role": role, "content": text} for role, text in self.before), *filled]


def read(path: Path, least: int, most: int | None) -> tuple[Query, ...]:
    """The queries of a file whose text has at least and at most so many characters.

    The file is of text, one query a line, or of JSON lines with the column `prompt`, a text or a
    conversation. Equal ones count once. Raises SynthesisError with the line of a mistake, and where
    nothing is left.
    """
    try:
        return _read(path, path.stat().st_mtime_ns, least, most)
    except OSError as error:
        raise SynthesisError(f"seeds {path} can't be read: {error.strerror}") from None


def chosen(instruction: str, settings: Any) -> list[Query]:
    """Those for this instruction, whatever else there is in the run."""
    found = settings.queries
    rng = random.Random(sha256(f"{settings.seed}/{instruction}".encode()).digest())
    return rng.sample(found, min(settings.queries_per_instruction, len(found)))


def asked(prompts: Prompts, name: str, query: Query, instruction: str) -> Conversation:
    """The query with the instruction, worded as the prompt file `name` says."""
    filled = prompts.get(name).fill({"query": query.text, "instruction": instruction})
    return query.with_last(filled)


@lru_cache(maxsize=8)
def _read(path: Path, _changed_ns: int, least: int, most: int | None) -> tuple[Query, ...]:
    is_json = path.suffix in (".jsonl", ".json")
    found: dict[Query, None] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            if text := line.decode().strip():
                found[_of_json(json.loads(text)) if is_json else Query((), text)] = None
        except ValueError as error:  # of UTF-8 and of JSON too
            raise SynthesisError(f"{path}:{number}: {error}") from None
    if not found:
        raise SynthesisError(f"seeds {path} holds no queries; give one a line")
    fit = [q for q in found if len(q.text) >= least and (most is None or len(q.text) <= most)]
    if not fit:
        raise SynthesisError(
            f"seeds {path}: none of the {len(found)} queries has at least {least}"
            f"{f' and at most {most}' if most else ''} characters; see min_query_chars and "
            "max_query_chars"
        )
    return tuple(fit)


def _of_json(row: Any) -> Query:
    prompt = row.get("prompt") if isinstance(row, dict) else None
    messages = user(prompt) if isinstance(prompt, str) else prompt
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise ValueError('give {"prompt": ...} with a text or a list of messages')
    if not messages or messages[-1]["role"] != "user" or not messages[-1]["content"].strip():
        raise ValueError("the prompt does not end with a user's message")
    *before, last = [(message["role"], message["content"]) for message in messages]
    for _, text in (*before, last):
        text.encode()
    return Query(tuple(before), last[1].strip())


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") in _ROLES
        and isinstance(message.get("content"), str)
    )
