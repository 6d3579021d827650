"""Structured data (Qwen2.5, arXiv 2412.15115 §4.1): table questions, fact verification, error
correction and structural understanding, with reasoning chains.

Every answer is computed by code: of a question or claim that a model wrote by its SQL query, of a
table with a mistake by the code that made it, of a question of structure from the table. A query
is the model's too, so of questions and claims enough independent solutions must come to what it
gives. The report publishes neither prompts nor thresholds; these are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import verifiers
from synth.flow.item import Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.rows.keeping import keep_answers
from synth.synthesis import SynthesisError
from synth.tables.problems import NUM_KINDS, TASKS, Problem, problems
from synth.tables.table import FORMATS
from synth.text.equations import first_wrong
from verifiers import Verdict
from verifiers.suggest import did_you_mean

METHOD = "tables"
VERSION = 1
SOURCES = ("corpus",)
OUTPUTS = ("sft", "preference")
NEEDS = ("table",)

_NOT_CARRIED = ("kind_asked", "truth_asked")  # what the writer was asked for


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of synthesis from tables."""

    output: Literal["sft", "preference"] = "sft"
    tasks: Sequence[str] = TASKS
    """Any of question, claim, correction and structure."""
    per_task: int = 2
    """Problems made of each table for each task."""
    samples: int = 4
    """Solutions drawn for each problem."""
    judge: Any = None
    """Solves the problems; the model by default. Another one does not share its mistakes."""
    agreement: float = 0.5
    """More than this share of the solutions of a question or claim must give its query's answer."""
    check_equations: bool = True
    """Discard right answers with an arithmetic slip on the way."""
    max_per_prompt: int | None = 1
    """sft: distinct right solutions kept of a problem; None keeps all."""
    pairs_per_prompt: int = 1
    """preference: pairs made of a problem."""
    formats: Sequence[str] = tuple(FORMATS)
    """How tables are shown: any of markdown, csv, json and html, drawn for each problem."""
    max_cells: int = 300
    """Larger tables are not used."""
    max_answers: int = 8
    """Cells that the answer to a question may have."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(per_task=1, samples=1, max_per_prompt=1, pairs_per_prompt=1)
        self.at_least(max_cells=4, max_answers=1, agreement=0.0)
        if self.agreement >= 1:
            raise SynthesisError(f"agreement is {self.agreement}; give a share below 1")
        if self.per_task > NUM_KINDS:
            raise SynthesisError(f"per_task is {self.per_task}; give at most {NUM_KINDS}")
        for name, known in (("tasks", TASKS), ("formats", tuple(FORMATS))):
            chosen = getattr(self, name)
            if isinstance(chosen, str) or not chosen:
                raise SynthesisError(f"{name} is {chosen!r}; give a list of {', '.join(known)}")
            for one in chosen:
                if one not in known:
                    raise SynthesisError(f"{name} has {one!r}{did_you_mean(str(one), known)}")


def make(window: Window, settings: Settings) -> None:
    """Rows with the table's other columns, and `table` (as shown), `table_format`, `task`, `kind`,
    `question`, `answer` and `ordered` (for verifier `tables`), and `sql` (None where code alone
    knew the answer)."""
    found = problems(window, settings)
    groups = window.generate(
        "solve",
        [problem.item for problem in found],
        lambda item: item.columns["prompt"],
        n=settings.samples,
        engine=settings.judge,
    )
    verdicts = {
        item.id: verdict
        for item, verdict in window.verify(
            "verify",
            [child for group in groups for child in group],
            verifiers.tables.verify,
            row=lambda item: {name: item.columns[name] for name in ("answer", "ordered")},
        )
    }
    for problem, solutions in zip(found, groups, strict=True):
        decided = [solution for solution in solutions if solution.id in verdicts]
        _settle(window, problem, decided, verdicts, settings)


def _settle(
    window: Window,
    problem: Problem,
    solutions: Sequence[Item],
    verdicts: Mapping[str, Verdict],
    settings: Settings,
) -> None:
    """Too few right solutions of a problem that a model wrote: `solve:disputed`, for the solutions
    too, since nobody knows which are wrong."""
    right = [one for one in solutions if verdicts[one.id].correct]
    window.tally(f"solutions/{problem.item.columns['task']}", len(solutions))
    window.tally(f"right/{problem.item.columns['task']}", len(right))
    if problem.of_model and solutions and len(right) <= settings.agreement * len(solutions):
        for item in (problem.item, *solutions):
            window.reject(item, "solve:disputed", f"{len(right)} of {len(solutions)} agree")
        return
    wrong = [(one, "verify:wrong") for one in solutions if not verdicts[one.id].correct]
    if settings.check_equations:
        right = [one for one in right if not _slips(window, one)]
    columns = {k: v for k, v in problem.item.columns.items() if k not in _NOT_CARRIED}
    keep_answers(window, problem.item, right, wrong, columns, settings)


def _slips(window: Window, solution: Item) -> bool:
    slip = first_wrong(solution.text)
    if slip:
        window.reject(solution, "equations:wrong", slip)
    return bool(slip)


def metrics(tallies: Mapping[str, int], settings: Settings) -> dict[str, float]:
    """`right/<task>`: the share of a task's solutions that are right."""
    return {
        f"right/{task}": tallies.get(f"right/{task}", 0) / tallies[f"solutions/{task}"]
        for task in settings.tasks
        if tallies.get(f"solutions/{task}")
    }
