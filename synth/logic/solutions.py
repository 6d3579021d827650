"""Solutions of logical questions: checked against the key, which they check in turn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import verifiers
from synth.flow.item import Item
from synth.flow.window import Window
from synth.rows.keeping import distinct


@dataclass
class Question:
    """A question with its right and its wrong solutions."""

    item: Item
    right: list[Item] = field(default_factory=list)
    wrong: list[Item] = field(default_factory=list)


def solved(window: Window, items: Sequence[Item], settings: Any) -> list[Question]:
    """The questions whose key stands.

    Reasons: `verify:<word>` for a solution without an answer that can be read; for a question and
    its solutions `key:disputed`, if no more than `agreement` of them give the key, and
    `key:untested`, if fewer than `min_votes` give any answer.
    """
    groups = window.generate(
        "solve", items, lambda item: item.columns["prompt"], n=settings.samples
    )
    solutions = [child for group in groups for child in group]
    is_right = {item.id: right for item, right in graded(window, "verify", solutions)}
    questions = []
    for item, group in zip(items, groups, strict=True):
        votes = [one for one in group if one.id in is_right]
        right = [one for one in votes if is_right[one.id]]
        wrong = [one for one in votes if not is_right[one.id]]
        window.tally("keys")
        reason = _doubt(len(right), len(votes), settings)
        if reason:
            for one in (item, *votes):
                window.reject(one, reason, f"{len(right)} of {len(votes)} solutions give the key")
            continue
        window.tally("keys_agreed")
        questions.append(Question(item, distinct(window, right), wrong))
    return questions


def _doubt(num_right: int, num_votes: int, settings: Any) -> str | None:
    if num_votes < settings.min_votes:
        return "key:untested"
    return "key:disputed" if num_right <= settings.agreement * num_votes else None


def graded(window: Window, step: str, solutions: Sequence[Item]) -> list[tuple[Item, bool]]:
    """Solutions that give an answer, each with whether it is the key."""
    found = []
    for name in ("choice", "logic", "math"):
        items = [one for one in solutions if one.columns["verifier"] == name]
        if not items:
            continue
        for item, verdict in window.verify(
            step,
            items,
            verifiers.get(name),
            row=lambda item: {name: item.columns[name] for name in ("answer", "choices")},
        ):
            if verdict.correct or verdict.reason == "not_equal":
                found.append((item, bool(verdict.correct)))
            else:
                window.reject(item, f"{step}:{verdict.reason}", verdict.detail)
    return found
