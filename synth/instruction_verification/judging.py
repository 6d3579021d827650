"""Responses judged by the functions of their instruction, and for their quality (§3.3)."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.instruction_verification import running
from synth.instruction_verification.responses import Task
from synth.instruction_verification.running import Run, Seen
from synth.instruction_verification.thresholds import meets

QUALITY_SCHEMA = {
    "type": "object",
    "properties": {
        "analysis": {"type": "string", "maxLength": 4000},
        "score": {"type": "integer", "minimum": 1, "maximum": 10},
    },
    "required": ["analysis", "score"],
    "additionalProperties": False,
}


def follow(window: Window, tasks: Sequence[Task], settings: Any) -> None:
    """Ask the functions, and sort the responses into good and bad ones."""
    groups = [list(some) for _, some in groupby(tasks, lambda task: task.instruction.item.id)]
    requests = []
    for some in groups:
        texts = [response.text for task in some for response in task.responses]
        requests += [(f.value.source, texts) for f in some[0].instruction.functions if texts]
    runs = iter(running.run(window, "follow", requests, settings))
    for some in groups:
        responses = [(task, response) for task in some for response in task.responses]
        mine = [next(runs) for _ in some[0].instruction.functions] if responses else []
        for place, (task, response) in enumerate(responses):
            _note(window, task, response, mine, place)
    for task in tasks:
        for response in task.responses:
            if not response.settled:
                _sort(window, task, response, settings)


def rate(seen: Sequence[Seen]) -> float | None:
    """Of the functions that come to a verdict the share that finds that the response follows.

    None if no more than half of all come to one. `inside.evaluate` has the same rule.
    """
    decided = [one.follows for one in seen if one.follows is not None]
    return sum(decided) / len(decided) if 2 * len(decided) > len(seen) else None


def score(window: Window, tasks: Sequence[Task], settings: Any) -> None:
    """Ask for the quality of the good responses; those that lack it are rejected."""
    asked = window.prompts.get("quality")
    good = {response.id: (task, response) for task in tasks for response in task.good}

    def question(response: Item) -> list[dict[str, str]]:
        columns = good[response.id][0].item.columns
        return asked.fill(columns, response=response.text)

    if settings.quality_votes:
        for response, values in window.judge(
            "quality",
            [response for _, response in good.values()],
            question,
            n=settings.quality_votes,
            schema=QUALITY_SCHEMA,
            engine=settings.judge,
        ):
            mean = sum(value["score"] for value in values) / len(values)
            if meets(mean, settings.limits.quality_kept):
                good[response.id][0].scores[response.id] = mean
            else:
                window.reject(response, "quality:low", f"{mean:.3g} of 10")
    for task in tasks:
        task.good = [response for response in task.good if not response.settled]
        # Of equals the first drawn.
        task.good.sort(key=lambda response: -task.scores.get(response.id, 0.0))


def _note(window: Window, task: Task, response: Item, runs: Sequence[Run], place: int) -> None:
    """The pass rate of a response; it is rejected if the functions come to none."""
    seen = [run.seen[place] for run in runs]
    share = rate(seen)
    response.records.append(
        {
            "step": "follow",
            "says": [one.verdict if one.follows is None else one.follows for one in seen],
            "pass_rate": share,
            "functions_from": [f.parent.records[0]["key"] for f in task.instruction.functions],
            "isolation": runs[0].isolation,
        }
    )
    window.tally("responses")
    if share is None:
        silent = next(one for one in seen if one.follows is None)
        window.reject(response, f"follow:undecided:{silent.verdict}", silent.detail)
    else:
        task.passed[response.id] = share


def _sort(window: Window, task: Task, response: Item, settings: Any) -> None:
    share, limits = task.passed[response.id], settings.limits
    in_pairs = settings.output == "preference"
    if meets(share, limits.chosen_kept if in_pairs else limits.response_kept):
        window.tally("followed")
        task.good.append(response)
    elif in_pairs and meets(share, limits.rejected_kept):
        task.bad.append(response)
    else:
        word = "mixed" if in_pairs else "not_followed"
        window.reject(response, f"follow:{word}", f"pass rate {share:.3g}")
