"""Verifier "reasoning_gym": the scorer of the data set that a puzzle came from."""

import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any

from verifiers.extract import final_answer
from verifiers.suggest import did_you_mean
from verifiers.verdict import Verdict, VerifierError

EXCLUDED = {
    "arc_agi": "its scorer does not recognise the right answer once the item has been stored",
    "boxnet": "its items hold no right answer, and its scorer raises on ordinary text",
    "game_of_life_halting": "its scorer gives full marks to junk",
    "graph_color": "its scorer does not recognise the right answer once the item has been stored",
    "propositional_logic": "its items hold no right answer",
    "rearc": "its scorer does not recognise the right answer once the item has been stored",
    "rubiks_cube": "its items hold no right answer",
    "rush_hour": "its items hold no right answer",
}
"""Data sets of reasoning-gym 0.1.25 whose scorers mislead, and how."""


def verify(
    completion: str,
    reference: str,
    *,
    task: str | None = None,
    entry: str | dict[str, Any] | None = None,
    **columns: Any,
) -> Verdict:
    """Score the final answer by reasoning-gym's own scorer; right only at full marks.

    task: the data set's name. entry: the item (question, answer, metadata), as a dict or JSON.
    `reference` is not used: the item holds what the scorer needs. An answer of several lines must
    stand in a box. Reasons: `full_marks`, `not_full_marks`, `no_answer`; with correct None
    `unparsable_reference` and `scorer_error`. Raises VerifierError: a column is missing, or the
    data set is unknown or excluded.
    """
    if task is None or entry is None:
        missing = "task" if task is None else "entry"
        raise VerifierError(f"verifier 'reasoning_gym' needs the column '{missing}' in every row")
    scorer = _scorer(task)
    item = _item(entry)
    if item is None:
        return Verdict(None, 0.0, "unparsable_reference", "entry is no JSON object with an answer")
    answer = final_answer(completion)
    if answer is None:
        return Verdict(False, 0.0, "no_answer")
    try:
        score = float(scorer(answer, item))
    except Exception as error:
        return Verdict(None, 0.0, "scorer_error", f"{task}: {type(error).__name__}: {error}"[:300])
    if not math.isfinite(score):
        return Verdict(None, 0.0, "scorer_error", f"{task}: the score is {score}")
    if score == 1.0:
        return Verdict(True, 1.0, "full_marks")
    return Verdict(False, score, "not_full_marks", f"answer {answer[:80]!r}")


@cache
def _scorer(task: str) -> Callable[[str, dict[str, Any]], float]:
    from reasoning_gym.factory import DATASETS, get_score_answer_fn  # about a second to import

    if task in EXCLUDED:
        raise VerifierError(f"reasoning_gym's '{task}' can't be verified: {EXCLUDED[task]}")
    if task not in DATASETS:
        raise VerifierError(f"reasoning_gym has no data set '{task}'{did_you_mean(task, DATASETS)}")
    return get_score_answer_fn(task)


def _item(entry: str | dict[str, Any]) -> dict[str, Any] | None:
    if isinstance(entry, str):
        try:
            entry = json.loads(entry)
        except json.JSONDecodeError:
            return None
    return entry if isinstance(entry, dict) and "answer" in entry else None
