"""What the reasoner thinks and answers, and which of it is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from synth.flow.item import Answer, Item
from synth.flow.templates import Conversation
from synth.flow.window import Window
from synth.text.words import words_of

OPEN, CLOSE = "<think>", "</think>"


@dataclass
class Thought:
    """An answer in its two parts. repeated: share of its words that lie in repetitions."""

    thought: str
    summary: str
    repeated: float = 0.0

    @property
    def text(self) -> str:
        """The completion, in one form however the reasoner spaced it."""
        return f"{OPEN}\n{self.thought}\n{CLOSE}\n\n{self.summary}"

    @cached_property
    def words(self) -> list[str]:
        return words_of(f"{self.thought}\n{self.summary}")


def read(answer: Answer) -> Thought:
    """Raises ValueError unless it is one thought, closed, and an answer after it.

    The opening tag may be missing: templates of reasoners often give it.
    """
    before, closing, summary = answer.text.partition(CLOSE)
    thought = before.strip().removeprefix(OPEN).strip()
    if not closing:
        raise ValueError(f"there is no {CLOSE}")
    if OPEN in thought or OPEN in summary or CLOSE in summary:
        raise ValueError(f"there is more than one {OPEN} or {CLOSE}, or text before the first")
    if not thought or not summary.strip():
        raise ValueError("the thought is empty" if not thought else f"nothing follows {CLOSE}")
    return Thought(thought, summary.strip())


def right(
    window: Window, items: Sequence[Item], settings: Any
) -> tuple[list[Item], dict[str, float]]:
    """Right answers, their `value` a Thought, and the share of right ones by the query's id."""
    drawn = window.generate(
        "think",
        items,
        lambda item: _asked(window, item, settings),
        n=settings.samples,
        engine=settings.reasoner,
        parse=read,
    )
    different = [one for group in drawn for one in _different(window, group)]
    verdicts = window.verify(
        "verify", different, settings.verifier, completion=lambda one: one.value.text
    )
    found: list[Item] = []
    counts = {item.id: [0, 0] for item in items}
    for candidate, verdict in verdicts:
        counts[candidate.source.id][0] += bool(verdict.correct)
        counts[candidate.source.id][1] += 1
        if verdict.correct:
            found.append(candidate)
        else:
            window.reject(candidate, "verify:wrong", verdict.detail)
    for item in items:
        num_right, num_judged = counts[item.id]
        window.tally("right", num_right)
        window.tally("judged", num_judged)
        if num_judged and not num_right:
            window.tally("always_wrong")
            detail = f"none of {num_judged} answers is right; a person should check the reference"
            window.reject(item, "verify:always_wrong", detail)
    return found, {name: r / n for name, (r, n) in counts.items() if n}


def _asked(window: Window, item: Item, settings: Any) -> Conversation:
    if not settings.instructed:
        return item.columns["prompt"]
    *before, last = item.columns["prompt"]
    return [*before, *window.prompts.get("think").fill({"query": last["content"]})]


def _different(window: Window, group: Sequence[Item]) -> list[Item]:
    """One of those that are equal but for whitespace."""
    kept: dict[str, Item] = {}
    for candidate in group:
        same = " ".join(candidate.value.text.split())
        if same in kept:
            window.reject(candidate, "think:duplicate")
        else:
            kept[same] = candidate
    return list(kept.values())
