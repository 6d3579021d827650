"""Conversations as rows have them."""

from collections.abc import Sequence
from typing import Any

from verifiers.code.programs import answer_of

Message = dict[str, str]


def user(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[Message]:
    """A completion, as TRL wants it."""
    return [{"role": "assistant", "content": text}]


def with_system(system: str | None, prompt: Sequence[Message]) -> list[Message]:
    """The prompt under a system prompt, which takes the place of one that is there."""
    if system is None:
        return list(prompt)
    rest = [message for message in prompt if message["role"] != "system"]
    return [{"role": "system", "content": system}, *rest]


def last_user(prompt: Sequence[Message]) -> str:
    """What was asked last; "" if nobody asked."""
    return next((m["content"] for m in reversed(prompt) if m["role"] == "user"), "")


def as_text(messages: Sequence[Message]) -> str:
    """A dialogue for a judge to read."""
    return "\n\n".join(f"{m['role'].capitalize()}: {m['content']}" for m in messages)


def said(answer: Any) -> str:
    """What an answer says after its thoughts, for `parse`. Raises ValueError if that is nothing."""
    text = answer_of(answer.text).strip()
    if not text:
        raise ValueError("it says nothing")
    return text
