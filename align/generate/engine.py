"""What every engine takes and gives. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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
    token_ids: what the model emitted, with the end token if it emitted one; () where a server does
        not tell.
    logps: natural-log probability of each of `token_ids` under the model itself, at temperature 1
        and with no token filtered out, whatever the sampling was.
    finish_reason: "stop" if the model ended its turn, "length" if it was cut off.
    num_tokens: how many tokens were sampled.
    first_logps: the likeliest first tokens and their natural-log probabilities, as many as asked
        for by `top_logprobs`.
    """

    text: str
    token_ids: tuple[int, ...]
    logps: tuple[float, ...]
    finish_reason: Literal["stop", "length"]
    num_tokens: int = 0
    first_logps: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A request that got no answer, when all retries that could help were made.

    reason: a short fixed word, fit for counting: `http_429`, `timeout`, `garbage`, `empty`,
        `other_model`, `content_filter`, `too_long`, ... detail: free text for a person.
    """

    reason: str
    detail: str = ""


OnAnswers = Callable[[Sequence[tuple[int, Completion | Failure]]], None]
"""Called with (place in the list of requests, answer) as answers come, several at once where they
are made at once. A request counts as in flight until this returns. What it raises ends the call."""


class Engine(Protocol):
    """A model that answers conversations. `fingerprint` names its weights.

    follows_schemas: whether `schema` holds the model to it; where False it is ignored. Calls may
    come from several threads.
    """

    fingerprint: str
    follows_schemas: bool

    def answer(
        self,
        prompts: Sequence[Conversation],
        samples: Sequence[int],
        *,
        sampling: Sampling,
        seed: int,
        on_answers: OnAnswers,
        schema: Mapping[str, Any] | None = None,
        top_logprobs: int = 0,
    ) -> None:
        """One completion for each prompt: number `samples[i]` of those that `prompts[i]` has.

        The same prompt, sample, sampling and seed give the same answer, as far as the engine can
        promise it; other samples of the prompt are independent. Raises GenerationError where no
        request can be answered.
        """
        ...

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
