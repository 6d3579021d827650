"""Responses to queries that an instruction is attached to (§3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.instruction_verification import queries
from synth.instruction_verification.instruction import Instruction
from synth.instruction_verification.queries import Query
from synth.rows.messages import said


@dataclass(slots=True)
class Task:
    """A query with an instruction.

    responses: distinct ones. passed: by a response's id the share of the functions that find that
    it follows. good: those fit for rows, best first. bad: those fit to be rejected in a pair.
    scores: of quality, by a good one's id.
    """

    item: Item
    instruction: Instruction
    query: Query
    responses: list[Item] = field(default_factory=list)
    passed: dict[str, float] = field(default_factory=dict)
    good: list[Item] = field(default_factory=list)
    bad: list[Item] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)


def tasks(window: Window, found: Sequence[Instruction], settings: Any) -> list[Task]:
    """Each instruction with the queries chosen for it, one instruction after the other."""
    made = []
    for instruction in found:
        some = queries.chosen(instruction.text, settings)
        columns = [
            {
                "prompt": queries.asked(window.prompts, "ask", query, instruction.text),
                "instruction": instruction.text,
                "query": query.text,
            }
            for query in some
        ]
        items = window.expand("query", instruction.item, columns)
        made += [Task(item, instruction, query) for item, query in zip(items, some, strict=True)]
    return made


def respond(window: Window, found: Sequence[Task], settings: Any) -> None:
    """Ask for responses; one that says what another says is rejected."""
    task_of = {task.item.id: task for task in found}
    groups = window.generate(
        "respond",
        [task.item for task in found],
        lambda item: queries.asked(
            window.prompts, "respond", task_of[item.id].query, task_of[item.id].instruction.text
        ),
        n=settings.samples,
        parse=said,
    )
    for task, group in zip(found, groups, strict=True):
        known: set[str] = set()
        for response in group:
            response.text = response.value
            same = " ".join(response.text.split())
            if same in known:
                window.reject(response, "respond:duplicate")
            else:
                known.add(same)
                task.responses.append(response)
