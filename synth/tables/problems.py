"""Problems on tables, each with an answer that code computed."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import verifiers
from synth.flow.item import Item
from synth.flow.window import Window
from synth.tables import query
from synth.tables.corruption import corruptions
from synth.tables.structure import structural
from synth.tables.table import FORMATS, Table, TableError, read_table
from verifiers.strict_json import array_or_object

TASKS = ("question", "claim", "correction", "structure")
NUM_KINDS = 8
"""How many kinds of questions the prompts `question` and `claim` list, for one to be drawn."""

_SQL = {"type": "string", "minLength": 1, "maxLength": 2000}
_TEXT = {"type": "string", "minLength": 1, "maxLength": 600}
SCHEMAS = {
    task: {
        "type": "object",
        "properties": {task: _TEXT, "sql": _SQL},
        "required": [task, "sql"],
        "additionalProperties": False,
    }
    for task in ("question", "claim")
}


@dataclass(frozen=True)
class Problem:
    """An item whose columns have the problem: `task`, `kind`, `prompt`, `answer`, `ordered`, `sql`.

    of_model: whether a model had a hand in the answer, so that it must be agreed on.
    """

    item: Item
    of_model: bool


def problems(window: Window, settings: Any) -> list[Problem]:
    """Reasons: `table:<word>` of `TableError`, and `answer:unreadable` for an answer that would be
    taken for wrong in the form that is asked for; see `_written` and `_corrected` for the others.
    """
    tables = []
    for item in window.items:
        try:
            table = read_table(item.columns["table"], max_cells=settings.max_cells)
        except TableError as error:
            window.reject(item, f"table:{error.word}", str(error))
        else:
            tables.append((item, table))
    found: list[Problem] = []
    for task in settings.tasks:
        if task in ("question", "claim"):
            found += [Problem(item, True) for item in _written(window, settings, task, tables)]
        else:
            make = _corrected if task == "correction" else _structural
            for item, table in tables:
                made = make(window, settings, item, table)
                found += [Problem(child, False) for child in made]
    places = {item.id: place for place, item in enumerate(window.items)}
    found.sort(key=lambda problem: places[problem.item.source.id])
    return [problem for problem in found if _is_readable(window, problem.item)]


def _is_readable(window: Window, item: Item) -> bool:
    """Whether the verifier reads the answer out of a solution, as from most cells it does."""
    answer = item.columns["answer"]
    cells = array_or_object(answer)
    said = "; ".join(map(str, cells)) if isinstance(cells, list) else answer
    ordered = item.columns["ordered"]
    if verifiers.tables.verify(f"\\boxed{{{said}}}", answer, ordered=ordered).correct:
        return True
    window.reject(item, "answer:unreadable", answer)
    return False


def _rng(settings: Any, item: Item, what: str) -> random.Random:
    return random.Random(f"{settings.seed}:{item.id}:{what}")


def _asked(
    window: Window,
    settings: Any,
    item: Item,
    table: Table,
    prompt: str,
    question: str,
) -> dict[str, Any]:
    """The columns `table`, `table_format` and `prompt`: what whoever answers is shown."""
    style = _rng(settings, item, "format").choice(list(settings.formats))
    shown = FORMATS[style](table)
    title = item.source.columns.get("title")
    caption = f"{title}\n\n" if title else ""
    asked = window.prompts.get(prompt).fill(
        {"table": caption + shown, "question": question, "format": style}
    )
    return {"table": shown, "table_format": style, "question": question, "prompt": asked}


# --- written by the model, computed by a query ---


def _written(
    window: Window, settings: Any, task: str, tables: Sequence[tuple[Item, Table]]
) -> list[Item]:
    """Reasons beside those of asking: `<task>:duplicate`, and `query:<word>`."""
    table_of: dict[str, Table] = {}
    asked = []
    for item, table in tables:
        rng = _rng(settings, item, task)
        kinds = rng.sample(range(1, NUM_KINDS + 1), min(settings.per_task, NUM_KINDS))
        wanted = [
            {"task": task, "kind_asked": kind, "truth_asked": rng.random() < 0.5} for kind in kinds
        ]
        for child in window.expand(task, item, wanted):
            table_of[child.id] = table
            asked.append(child)

    def conversation(item: Item) -> list[dict[str, str]]:
        table = table_of[item.id]
        return window.prompts.get(task).fill(
            {
                "schema": query.schema(table),
                "table": FORMATS["markdown"](table),
                "title": item.columns.get("title") or "-",
                "functions": ", ".join(query.FUNCTIONS),
                "number": item.columns["kind_asked"],
                "truth": str(item.columns["truth_asked"]),
            }
        )

    groups = window.generate(task, asked, conversation, schema=SCHEMAS[task])
    written = _distinct(window, task, [child for group in groups for child in group])
    inputs = [
        [list(t.header), [list(row) for row in t.rows], item.value["sql"]]
        for item in written
        for t in [table_of[item.parent.id]]
    ]
    made = []
    for item, result in zip(written, window.compute("query", query.answers, inputs), strict=True):
        item.records.append({"step": "query", **result})
        word = result.get("error") or _unfit(settings, item, result["answer"])
        if word:
            detail = result.get("detail") or f"the query gives {result['answer']!r:.100}"
            window.reject(item, f"query:{word}", detail)
            continue
        table, text = table_of[item.parent.id], item.value[task]
        item.columns = {
            **item.columns,
            **_asked(window, settings, item, table, f"answer_{task}", text),
            "kind": task,
            "sql": item.value["sql"],
            **_reference(task, item, result),
        }
        made.append(item)
    return made


def _reference(task: str, item: Item, result: dict[str, Any]) -> dict[str, Any]:
    if task == "claim":
        return {"answer": str(item.columns["truth_asked"]), "ordered": True}
    answer = result["answer"]
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return {"answer": text, "ordered": result["ordered"]}


def _unfit(settings: Any, item: Item, answer: str | list[str]) -> str | None:
    """Why an answer can't be used. A claim's query gives 1 where it holds, and 0 where not."""
    if item.columns["task"] == "claim":
        if answer not in ("0", "1"):
            return "no_truth_value"
        return (
            None if answer == str(int(item.columns["truth_asked"])) else "not_the_truth_asked_for"
        )
    return "too_long" if isinstance(answer, list) and len(answer) > settings.max_answers else None


def _distinct(window: Window, task: str, items: Sequence[Item]) -> list[Item]:
    """The first of those that ask, or claim, the same of a table."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for item in items:
        same = (item.source.id, " ".join(item.value[task].casefold().split()))
        if same in seen:
            window.reject(item, f"{task}:duplicate")
        else:
            seen.add(same)
            kept.append(item)
    return kept


# --- made by code ---


def _corrected(window: Window, settings: Any, item: Item, table: Table) -> list[Item]:
    """A table that has no cell of which the rest says what it was: `correction:nothing_to_find`."""
    rng = _rng(settings, item, "correction")
    found = corruptions(table, settings.per_task, rng)
    if not found:
        (child,) = window.expand("correction", item, [{"task": "correction"}])
        window.reject(child, "correction:nothing_to_find")
        return []
    children = window.expand("correction", item, [{"task": "correction"}] * len(found))
    for child, wrong in zip(children, found, strict=True):
        child.records.append({"step": "corrupt", "wrong": wrong.wrong, "right": wrong.right})
        corrupted = table.with_cell(wrong.row, wrong.column, wrong.wrong)
        name = "answer_correction_sum" if wrong.kind == "sum" else "answer_correction"
        answer = [str(wrong.row + 1), table.header[wrong.column], wrong.right]
        child.columns = {
            **child.columns,
            **_asked(window, settings, child, corrupted, name, ""),
            **_read_off(wrong.kind, json.dumps(answer, ensure_ascii=False)),
        }
    return children


def _structural(window: Window, settings: Any, item: Item, table: Table) -> list[Item]:
    rng = _rng(settings, item, "structure")
    found = structural(table, settings.per_task, rng)
    children = window.expand("structure", item, [{"task": "structure"}] * len(found))
    for child, asked in zip(children, found, strict=True):
        (message,) = window.prompts.get(f"ask_{asked.kind}").fill(asked.blanks)
        child.records.append({"step": "structure", "kind": asked.kind})
        child.columns = {
            **child.columns,
            **_asked(window, settings, child, table, "answer_question", message["content"]),
            **_read_off(asked.kind, asked.answer),
        }
    return children


def _read_off(kind: str, answer: str) -> dict[str, Any]:
    return {"kind": kind, "sql": None, "answer": answer, "ordered": True}
