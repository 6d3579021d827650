"""Logical reasoning (Qwen2.5, arXiv 2412.15115 §4.1): questions of choice, of truth and open ones,
by deduction, induction, analogy, cause and statistics, 70,000 of them in the report.

Wrong answers and flawed reasoning are removed step by step: a question whose key most independent
solutions do not come to, solutions with another answer than the key, and, in rounds, right ones in
which a judge finds a flaw and that can't be mended. The report publishes neither prompts nor
thresholds; these are ours.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from synth.flow.item import Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.logic.questions import FORMS, REASONINGS, written
from synth.logic.reasoning import judged
from synth.logic.solutions import solved
from synth.rows.keeping import keep_answers
from synth.synthesis import SynthesisError
from verifiers.suggest import did_you_mean

METHOD = "logic"
VERSION = 1
SOURCES = ("corpus",)
OUTPUTS = ("sft", "preference")
NEEDS = ("text",)


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of synthesis of logical reasoning."""

    output: Literal["sft", "preference"] = "sft"
    """preference: sound reasoning over a wrong answer, or over a flaw on the way to the right."""
    forms: Sequence[str] = FORMS
    """Any of choice, truth and open."""
    reasonings: Sequence[str] = REASONINGS
    """Any of deduction, induction, analogy, causal and statistical."""
    per_seed: int = 2
    """Questions written on each seed text, no two of the same form and reasoning."""
    samples: int = 5
    """Independent solutions drawn for each question."""
    agreement: float = 0.5
    """A key stands if more than this share of the solutions with an answer give it."""
    min_votes: int = 3
    """And if at least so many give any answer."""
    max_judged: int | None = 2
    """Right solutions of a question whose reasoning is judged; None takes all."""
    rounds: int = 2
    """How often reasoning is judged; between, flawed solutions are written anew."""
    judge: Any = None
    """Looks for flaws in the reasoning; the model by default."""
    judge_samples: int = 1
    """Answers of the judge on a solution; it is sound if none of them names a flaw."""
    max_per_prompt: int | None = 1
    """sft: distinct sound solutions kept of a question; None keeps all."""
    pairs_per_prompt: int = 1
    """preference: pairs made of a question."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(per_seed=1, samples=1, min_votes=1, max_judged=1, rounds=1, judge_samples=1)
        self.at_least(agreement=0.0, max_per_prompt=1, pairs_per_prompt=1)
        if self.agreement >= 1:
            raise SynthesisError(f"agreement is {self.agreement}; give a share below 1")
        if self.min_votes > self.samples:
            raise SynthesisError(
                f"min_votes is {self.min_votes}; give at most samples ({self.samples})"
            )
        for name, known in (("forms", FORMS), ("reasonings", REASONINGS)):
            chosen = getattr(self, name)
            if isinstance(chosen, str) or not chosen:
                raise SynthesisError(f"{name} is {chosen!r}; give a list of {', '.join(known)}")
            for one in chosen:
                if one not in known:
                    raise SynthesisError(f"{name} has {one!r}{did_you_mean(str(one), known)}")


def make(window: Window, settings: Settings) -> None:
    """Rows with the seed's columns but `text`, and `form`, `reasoning`, `question`, `answer`,
    `choices` (of a question of choice, else None) and `verifier`, the one that the answer is for.
    """
    questions = solved(window, written(window, settings), settings)
    chosen = [one for question in questions for one in question.right[: settings.max_judged]]
    for question in questions:
        for one in question.right[len(question.right[: settings.max_judged]) :]:
            window.reject(one, "solve:over_max")
    sound, flawed = judged(window, chosen, settings)
    ids = {question.item.id for question in questions}
    sound_of, flawed_of = _by_question(sound, ids), _by_question(flawed, ids)
    for question in questions:
        item = question.item
        wrong = [(one, "verify:wrong") for one in question.wrong]
        wrong += [(one, "reasoning:flawed") for one in flawed_of.get(item.id, [])]
        keep_answers(window, item, sound_of.get(item.id, []), wrong, item.columns, settings)


def _by_question(solutions: Sequence[Item], ids: Set[str]) -> dict[str, list[Item]]:
    """Solutions by the id of the question that they, or what they were made of, answer."""
    found: dict[str, list[Item]] = {}
    for solution in solutions:
        item = solution.parent
        while item.id not in ids:
            item = item.parent
        found.setdefault(item.id, []).append(solution)
    return found


def metrics(tallies: Mapping[str, int], settings: Settings) -> dict[str, float]:
    """`keys_agreed`, the share of keys that stand; `flawed/<round>`, of what was judged in it."""
    found = {}
    if tallies.get("keys"):
        found["keys_agreed"] = tallies.get("keys_agreed", 0) / tallies["keys"]
    for number in range(1, settings.rounds + 1):
        if tallies.get(f"judged/{number}"):
            share = tallies.get(f"flawed/{number}", 0) / tallies[f"judged/{number}"]
            found[f"flawed/{number}"] = share
    return found
