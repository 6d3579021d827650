"""Rows of the responses that are left."""

from collections.abc import Mapping
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.instruction_verification.responses import Task
from synth.instruction_verification.running import combined
from synth.rows.messages import assistant
from synth.rows.pairing import pairs


def keep(window: Window, task: Task, settings: Any) -> None:
    """The rows of a query with an instruction, and the end of what is in none."""
    columns = {name: value for name, value in task.item.columns.items() if name != "text"}
    functions = task.instruction.functions
    columns["answer"] = combined([function.value.source for function in functions])
    if settings.output == "preference":
        _keep_pairs(window, task, columns, settings)
    elif settings.output == "prompts" and task.good:
        share = len(task.good) / len(task.responses)
        _keep(window, task, {**columns, "pass_rate": share}, response=task.good[0])
    else:
        for response in task.good[: settings.max_per_prompt]:
            row = {**columns, "completion": assistant(response.text)}
            row |= {"pass_rate": task.passed[response.id], "quality": _quality(task, response)}
            _keep(window, task, row, response=response)
    _settle(window, task, settings)


def _keep_pairs(window: Window, task: Task, columns: Mapping[str, Any], settings: Any) -> None:
    key = f"{settings.seed}:{task.item.id}"
    ordered = bool(task.scores)
    for better, worse in pairs(
        task.good, task.bad, settings.pairs_per_prompt, key, ordered=ordered
    ):
        row = {**columns, "chosen": assistant(better.text), "rejected": assistant(worse.text)}
        row |= {"pass_rate": task.passed[better.id], "quality": _quality(task, better)}
        _keep(window, task, row, chosen=better, rejected=worse)


def _keep(window: Window, task: Task, row: Mapping[str, Any], **named: Item) -> None:
    window.keep(row, *task.instruction.evidence, **named)


def _quality(task: Task, response: Item) -> float | None:
    return task.scores.get(response.id)


def _settle(window: Window, task: Task, settings: Any) -> None:
    word = "unpaired" if settings.output == "preference" else "over_max"
    for response in (*task.good, *task.bad):
        if not response.settled:
            window.reject(response, f"choose:{word}")
    if not task.item.settled:
        window.reject(task.item, "choose:none_failed" if task.good else "choose:none_good")
