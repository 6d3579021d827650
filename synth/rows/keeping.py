"""Rows from the answers to one problem, once it is known which of them are right."""

from collections.abc import Mapping, Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.rows.messages import assistant
from synth.rows.pairing import pairs


def keep_answers(
    window: Window,
    problem: Item,
    right: Sequence[Item],
    wrong: Sequence[tuple[Item, str]],
    columns: Mapping[str, Any],
    settings: Any,
) -> None:
    """Rows of `columns` and a `completion`, or `chosen` and `rejected`, as `settings.output` says.

    wrong: each with the reason under which it goes where no row uses it. Other reasons:
    `solve:duplicate` (of an answer before), `solve:over_max`, `solve:unpaired`; for the problem
    `solve:no_right_answer` and `solve:no_wrong_answer`. Of the settings are read `output`, `seed`,
    `max_per_prompt` and `pairs_per_prompt`.
    """
    right = distinct(window, right)
    if settings.output == "sft":
        for item in right[: settings.max_per_prompt]:
            window.keep({**columns, "completion": assistant(item.text)}, item)
    else:
        worse = [item for item, _ in wrong]
        key = f"{settings.seed}:{problem.id}"
        for chosen, rejected in pairs(right, worse, settings.pairs_per_prompt, key):
            row = {**columns, "chosen": assistant(chosen.text)}
            row["rejected"] = assistant(rejected.text)
            window.keep(row, chosen=chosen, rejected=rejected)
    left_over = "solve:over_max" if settings.output == "sft" else "solve:unpaired"
    for item, reason in (*((item, left_over) for item in right), *wrong):
        if not item.settled:
            window.reject(item, reason)
    if not problem.settled:
        window.reject(problem, f"solve:no_{'wrong' if right else 'right'}_answer")


def distinct(window: Window, answers: Sequence[Item]) -> list[Item]:
    """The first of those that are equal but for whitespace."""
    seen: set[str] = set()
    kept = []
    for item in answers:
        text = " ".join(item.text.split())
        if text in seen:
            window.reject(item, "solve:duplicate")
        else:
            seen.add(text)
            kept.append(item)
    return kept
