"""An engine that answers by a function, and remembers what it was asked."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sampling:
    temperature: float = 1.0
    max_tokens: int = 16


@dataclass(frozen=True)
class Completion:
    text: str
    finish_reason: str = "stop"
    num_tokens: int = 3
    first_logps: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    reason: str
    detail: str = ""


class Scripted:
    """`script(messages, sample)` gives a text, a Completion or a Failure."""

    def __init__(
        self,
        script: Callable[[list[dict[str, str]], int], Any],
        *,
        fingerprint: str = "scripted:1",
        follows_schemas: bool = False,
    ) -> None:
        self.script = script
        self.fingerprint = fingerprint
        self.follows_schemas = follows_schemas
        self.asked: Counter[str] = Counter()

    def answer(
        self, prompts, samples, *, sampling, seed, on_answers, schema=None, top_logprobs=0
    ) -> None:
        for place, (messages, sample) in enumerate(zip(prompts, samples, strict=True)):
            self.asked[json.dumps([messages, sample])] += 1
            said = self.script(messages, sample)
            on_answers([(place, Completion(said) if isinstance(said, str) else said)])

    @property
    def num_asked(self) -> int:
        return sum(self.asked.values())


def last(messages: list[dict[str, str]]) -> str:
    """What the model was asked last."""
    return messages[-1]["content"]
