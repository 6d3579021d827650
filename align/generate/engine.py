"""What every engine takes and gives. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Conversation = list[dict[str, str]]

Progress = Callable[[int, int, int], None]
"""Called after each chunk with: prompts done, prompts in all, tokens sampled in that chunk.

The last is 0 for a chunk read from a cache."""


@dataclass(frozen=True)
class Sampling:
    """How a completion is drawn. Filters apply in the order temperature, top_k, top_p.

    temperature: divides the logits; 0 takes the likeliest token at every step.
    top_p: keep the smallest set of likeliest tokens whose probability reaches this (Holtzman et al.
        2020, §3.1); 1 keeps all.
    top_k: keep this many likeliest tokens; 0 keeps all.
    max_tokens: longest completion, its end token included.

    Raises ValueError for a value outside its range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 256

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature is {self.temperature}: give 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(
                f"top_p is {self.top_p}: give more than 0 and at most 1 (1 keeps every token)"
            )
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}: give 0 (keeps every token) or more")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}: give at least 1")


@dataclass(frozen=True)
class Completion:
    """One sampled answer.

    text: decoded without the end token and without special tokens.
    token_ids: what the model emitted, with the end token if it emitted one.
    logps: natural-log probability of each of `token_ids` under the model itself, at temperature 1
        and with no token filtered out, whatever the sampling was.
    finish_reason: "stop" if the model ended its turn, "length" if it was cut off.
    """

    text: str
    token_ids: tuple[int, ...]
    logps: tuple[float, ...]
    finish_reason: Literal["stop", "length"]


class Engine(Protocol):
    """A model that answers conversations. `fingerprint` names its weights."""

    @property
    def fingerprint(self) -> str: ...

    def generate(
        self,
        prompts: list[Conversation],
        *,
        n: int,
        sampling: Sampling,
        seed: int,
        on_progress: Progress | None = None,
    ) -> list[list[Completion]]:
        """`n` completions for each prompt, in the order of `prompts`."""
        ...
