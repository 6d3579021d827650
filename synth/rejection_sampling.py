"""Rejection sampling (RFT, arXiv 2308.01825 §3.3): sample, keep what a verifier finds right.

Qwen2 (2407.10671 §4.2) sets right answers against wrong ones as preference pairs; Qwen2.5 lets a
reward model choose among the right ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rapidfuzz.distance import Levenshtein

from synth.flow.item import Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.rows.messages import assistant, with_system
from synth.rows.pairing import pairs
from synth.synthesis import SynthesisError
from synth.text.equations import equations, first_wrong
from verifiers import Verdict

METHOD = "rejection_sampling"
VERSION = 2
SOURCES = ("prompts",)
OUTPUTS = ("sft", "preference")
NEEDS = ("prompt", "answer")

_COMPARED_CHARS = 4000


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of rejection sampling."""

    verifier: Callable[..., Verdict]
    """Judges a completion against the row's `answer`."""
    samples: int = 8
    """Completions drawn for each prompt; RFT draws 100 at temperature 0.7."""
    output: Literal["sft", "preference"] = "sft"
    system: str | None = None
    """A system prompt to answer under. The rows do not carry it."""
    distinct: Literal["text", "equations"] = "text"
    """Which answers are the same: equal but for whitespace, or equal in their equations; of the
    latter the one is kept whose wording is farthest from those kept before."""
    check_equations: bool = False
    """Discard right answers with an arithmetic slip on the way, as RFT does."""
    reward: Any = None
    """A reward function with a `fingerprint`: of the right answers the best scored come first."""
    max_per_prompt: int | None = None
    """sft: distinct right completions kept of a prompt; None keeps all."""
    pairs_per_prompt: int = 1
    """preference: pairs made of a prompt."""
    reference_solutions: bool = False
    """The row's worked `solution` counts as one more candidate, verified like the rest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(samples=1, max_per_prompt=1, pairs_per_prompt=1)
        if not callable(self.verifier):
            raise SynthesisError(f"verifier is {self.verifier!r}; give verifiers.get(name)")


def make(window: Window, settings: Settings) -> None:
    """Rows `{prompt, completion}` or `{prompt, chosen, rejected}`, and the prompt's other columns
    but `solution`."""
    sampled = window.generate(
        "sample",
        window.items,
        lambda item: with_system(settings.system, item.columns["prompt"]),
        n=settings.samples,
    )
    candidates = [child for group in sampled for child in group]
    if settings.reference_solutions:
        candidates += _worked_solutions(window)
    rights, wrongs = _judged(window, candidates, settings)
    for item in window.items:
        right = _distinct(window, rights.get(item.id, []), settings)
        wrong = _distinct(window, wrongs.get(item.id, []), settings)
        right = _best_first(window, item, right, settings)
        if settings.output == "sft":
            _keep_right(window, item, right, wrong, settings)
        else:
            _keep_pairs(window, item, right, wrong, settings)


def _worked_solutions(window: Window) -> list[Item]:
    found = []
    for item in window.items:
        if item.columns.get("solution"):
            (child,) = window.expand("reference", item, [{}])
            child.text = item.columns["solution"]
            child.records.append({"step": "reference"})
            found.append(child)
    return found


Groups = dict[str, list[Item]]


def _judged(
    window: Window, candidates: Sequence[Item], settings: Settings
) -> tuple[Groups, Groups]:
    """Right and wrong candidates by their prompt's id."""
    rights: Groups = {}
    wrongs: Groups = {}
    for candidate, verdict in window.verify("verify", candidates, settings.verifier):
        slip = first_wrong(candidate.text) if settings.check_equations else None
        if not verdict.correct:
            wrongs.setdefault(candidate.source.id, []).append(candidate)
        elif slip:
            window.reject(candidate, "equations:wrong", slip)
        else:
            rights.setdefault(candidate.source.id, []).append(candidate)
    return rights, wrongs


def _distinct(window: Window, candidates: Sequence[Item], settings: Settings) -> list[Item]:
    """One of those that are the same. Of equal equations, the one farthest from those kept."""
    groups: dict[Any, list[Item]] = {}
    for candidate in candidates:
        text = " ".join(candidate.text.split())
        same = (settings.distinct == "equations" and equations(text)) or text
        groups.setdefault(same, []).append(candidate)
    kept: list[Item] = []
    for group in groups.values():
        best = group[0]
        if settings.distinct == "equations" and len(group) > 1:
            best = max(group, key=lambda one: _distance(one, kept))
        kept.append(best)
        for other in group:
            if other is not best:
                window.reject(other, "distinct:duplicate")
    return kept


def _distance(candidate: Item, kept: Sequence[Item]) -> int:
    """Edits to all those kept, summed (RFT); of long texts the starts are compared."""
    text = candidate.text[:_COMPARED_CHARS]
    return sum(Levenshtein.distance(text, other.text[:_COMPARED_CHARS]) for other in kept)


def _best_first(window: Window, item: Item, right: list[Item], settings: Settings) -> list[Item]:
    if settings.reward is None or not right:
        return right

    def scored(inputs: Sequence[Any]) -> list[float | None]:
        return settings.reward(
            prompts=[prompt for prompt, _ in inputs], completions=[assistant(t) for _, t in inputs]
        )

    prompt = item.columns["prompt"]
    scores = window.compute(
        "reward", scored, [[prompt, one.text] for one in right], source=settings.reward.fingerprint
    )
    for one, score in zip(right, scores, strict=True):
        one.records.append({"step": "reward", "score": score})
    order = sorted(range(len(right)), key=lambda i: -(scores[i] or 0.0))
    return [right[i] for i in order]


def _keep_right(
    window: Window, item: Item, right: list[Item], wrong: list[Item], settings: Settings
) -> None:
    for candidate in wrong:
        window.reject(candidate, "verify:wrong")
    for candidate in right[: settings.max_per_prompt]:
        window.keep({**_columns(item), "completion": assistant(candidate.text)}, candidate)
    for candidate in right[len(right[: settings.max_per_prompt]) :]:
        window.reject(candidate, "over_max")
    if not right:
        window.reject(item, "no_right_answer")


def _keep_pairs(
    window: Window, item: Item, right: list[Item], wrong: list[Item], settings: Settings
) -> None:
    key = f"{settings.seed}:{item.id}"
    ordered = settings.reward is not None
    for better, worse in pairs(right, wrong, settings.pairs_per_prompt, key, ordered=ordered):
        row = {**_columns(item), "chosen": assistant(better.text)}
        row["rejected"] = assistant(worse.text)
        window.keep(row, chosen=better, rejected=worse)
    for candidate in (*right, *wrong):
        if not candidate.settled:
            window.reject(candidate, "unpaired")
    if not right or not wrong:
        window.reject(item, "no_wrong_answer" if right else "no_right_answer")


def _columns(item: Item) -> dict[str, Any]:
    return {name: value for name, value in item.columns.items() if name != "solution"}
