"""Rows of a problem whose tests are settled."""

from collections.abc import Mapping, Sequence
from typing import Any

from synth.execution_feedback.agreement import grade
from synth.execution_feedback.cases import as_json
from synth.execution_feedback.problem import Problem
from synth.flow.item import Item
from synth.flow.verdicts import word_of
from synth.flow.window import Window
from synth.rows.messages import assistant
from synth.rows.pairing import pairs

UNUSED = {"sft": "choose:over_max", "preference": "choose:unpaired", "prompts": "choose:over_max"}
"""Why a program that passes is not used, by the kind of rows."""


def keep(
    window: Window,
    problem: Problem,
    tests: Sequence[Item],
    outputs: Mapping[str, str | None],
    settings: Any,
) -> None:
    """Judge the programs by the tests, and make the rows of each task.

    outputs: what the programs agree on, for all inputs, those without a kept test too.
    """
    shares = _graded(problem, tests, settings)
    reason = ""
    for task in problem.tasks:
        mine = [program for program in problem.programs if program.parent is task]
        right = [program for program in mine if program.id not in problem.failed]
        # Best first; of equals the first drawn, for the shortest would be the most cryptic.
        right.sort(key=lambda program: -_agreeing(problem, program, outputs))
        limit = settings.max_rejected_passed
        wrong = [p for p in mine if p.id in problem.failed and shares.get(p.id, 0.0) <= limit]
        window.tally(f"passed/{task.columns['language']}", len(right))
        columns = {
            **task.columns,
            "tests": as_json([test.value for test in tests], problem.entry_point),
            "pass_rate": len(right) / len(mine) if mine else 0.0,
        }
        if settings.output == "preference":
            _keep_pairs(window, columns, tests, right, wrong, settings)
        elif settings.output == "prompts" and right:
            columns["answer"] = columns.pop("tests")
            window.keep(columns, *tests, *right, solution=right[0])
        else:
            for program in right[: settings.max_per_prompt]:
                row = {**columns, "completion": assistant(program.text)}
                window.keep(row, *tests, solution=program)
        if not task.settled:
            reason = "choose:none_failed" if right else "grade:none_passed"
            window.reject(task, reason)
    problem.settle(window, reason, UNUSED[settings.output])


def _graded(problem: Problem, tests: Sequence[Item], settings: Any) -> dict[str, float]:
    """The share of the tests that each program passes, by its id; failures are noted."""
    cases = [test.value for test in tests]
    answers = list(dict.fromkeys(test.history()[-1]["key"] for test in tests))
    shares = {}
    for program in list(problem.running()):
        share, verdict = grade(problem.seen[program.id], cases)
        shares[program.id] = share
        program.records.append({"step": "grade", "passed": share, "tests_from": answers})
        if share < settings.min_passed:
            problem.failed[program.id] = f"grade:{word_of(verdict)}"
    return shares


def _agreeing(problem: Problem, program: Item, outputs: Mapping[str, str | None]) -> int:
    """On how many inputs it gives what the programs agree on."""
    seen = problem.seen[program.id]
    return sum(out is not None and seen[given].output == out for given, out in outputs.items())


def _keep_pairs(
    window: Window,
    columns: Mapping[str, Any],
    tests: Sequence[Item],
    right: Sequence[Item],
    wrong: Sequence[Item],
    settings: Any,
) -> None:
    key = f"{settings.seed}:{columns['id']}:{columns['language']}"
    for better, worse in pairs(right, wrong, settings.pairs_per_prompt, key, ordered=True):
        row = {
            **columns,
            "chosen": assistant(better.text),
            "rejected": assistant(worse.text),
        }
        window.keep(row, *tests, chosen=better, rejected=worse)
