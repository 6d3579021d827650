"""Verifier "reasoning_gym": the scorer of the data set that a puzzle came from.

The scorers were written for answers of good will: some run the answer as Python, some take junk.
Which ones, and what is done about it, is what this file knows about reasoning-gym 0.1.25.
"""

import copy
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from verifiers.extract import TAIL_CHARS, final_answer
from verifiers.suggest import did_you_mean
from verifiers.verdict import Verdict, VerifierError

ANSWER_CHARS = 10_000
"""Longer answers are wrong unread: no scorer takes more than a tenth of a second for this many.
The longest right answers (`palindrome_partitioning`, `tower_of_hanoi`) have about 5,000."""

EXCLUDED = {
    "arc_agi": "its scorer does not recognise the right answer once the item has been stored",
    "boxnet": "its items hold no right answer, and its scorer raises on ordinary text",
    "codeio": "its scorer takes minutes to say how wrong a long answer is",
    "coin_flip": "its scorer gives full marks to 0",
    "composite": "its items can't be scored without their data sets' settings; name the one that "
    "the item came from (metadata: source_dataset)",
    "decimal_arithmetic": "it asks for 12 digits, and its scorer takes any number within 0.001",
    "game_of_life_halting": "its scorer gives full marks to junk",
    "graph_color": "its scorer does not recognise the right answer once the item has been stored",
    "intermediate_integration": "its scorer executes the answer as Python",
    "number_sorting": "its scorer takes numbers that are off by up to 1",
    "propositional_logic": "its items hold no right answer",
    "puzzle24": "its scorer takes any four numbers that make 24, not only the given ones",
    "rearc": "its scorer does not recognise the right answer once the item has been stored",
    "rubiks_cube": "its items hold no right answer",
    "rush_hour": "its items hold no right answer",
}
"""Data sets whose scorers mislead, and how."""

# No call, attribute or power of a power can be written in these, so that the scorers that hand the
# answer to eval() (or to sympy, which does) neither run code nor compute without end. The others
# keep out what a scorer raises on or misreads (nan is everywhere as good as the right number).
_MATRIX = r"[-0-9\s,\[\]]+"
_FACTOR = r"(?:[0-9]{1,20}|[A-Za-z](?:\*\*[0-9]{1,2})?)"
_TERM = rf"{_FACTOR}(?:\s*[*/]\s*{_FACTOR})*"
_POLYNOMIAL = rf"(?=.{{1,500}}$)[-+]?\s*{_TERM}(?:\s*[-+]\s*{_TERM})*"
_SHAPES = {
    "binary_matrix": _MATRIX,
    "complex_arithmetic": r"[-+.0-9ijIJ\s()]+",
    "countdown": r"(?!.*(?:\*\s*\*|/\s*/))[-+*/()0-9 ]{1,200}",
    "game_of_life": _MATRIX,
    "gsm_symbolic": r"[^-0-9]*[0-9]+(?:\.[0-9]+)?[^0-9]*",
    "n_queens": r"[_Q\s,\[\]'\"]+",
    "polynomial_multiplication": _POLYNOMIAL,
    "prime_factorization": r"[0-9]{1,20}(?:\s*\u00d7\s*[0-9]{1,20})*",
    "simple_integration": _POLYNOMIAL,
    "spiral_matrix": _MATRIX,
    "string_insertion": r"[A-Z\s,\[\]'\"]+",
}


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
    stand in a box. Reasons: `full_marks`, `not_full_marks`, `no_answer`, `malformed_answer`,
    `too_long`; with correct None `unparsable_reference` and `scorer_error`. Raises VerifierError: a
    column is missing, or the data set is unknown or excluded.
    """
    if task is None or entry is None:
        missing = "task" if task is None else "entry"
        raise VerifierError(f"verifier 'reasoning_gym' needs the column '{missing}' in every row")
    scorer = _scorer(task)
    item = _item(entry)
    if item is None:
        detail = "entry is no JSON object with an answer that can be stated"
        return Verdict(None, 0.0, "unparsable_reference", detail)
    answer = final_answer(completion)
    if answer is None:
        return Verdict(False, 0.0, "no_answer")
    if len(answer) > ANSWER_CHARS:
        return Verdict(False, 0.0, "too_long", f"{len(answer)} characters; {ANSWER_CHARS} are read")
    verdict = _scored(scorer, task, answer, item)
    untrimmed = _untrimmed(answer, completion)
    if verdict.correct or untrimmed == answer:
        return verdict
    second = _scored(scorer, task, untrimmed, item)
    return second if second.correct else verdict


def _scored(scorer: Callable[..., float], task: str, answer: str, item: dict[str, Any]) -> Verdict:
    if task in _SHAPES and not re.fullmatch(_SHAPES[task], answer, re.DOTALL):
        return Verdict(False, 0.0, "malformed_answer", f"answer {answer[:80]!r}")
    try:
        score = float(scorer(answer, copy.deepcopy(item)))  # some scorers write into the item
    except Exception as error:
        return Verdict(None, 0.0, "scorer_error", f"{task}: {type(error).__name__}: {error}"[:300])
    if not 0.0 <= score <= 1.0:
        return Verdict(None, 0.0, "scorer_error", f"{task}: the score is {score}")
    if score == 1.0:
        return Verdict(True, 1.0, "full_marks")
    return Verdict(False, score, "not_full_marks", f"answer {answer[:80]!r}")


def _untrimmed(answer: str, completion: str) -> str:
    """The answer with the emphasis and full stop that extraction took off.

    A board may start with an underscore, and a sentence ends with a full stop; most scorers compare
    to the letter.
    """
    tail = completion[-TAIL_CHARS:]
    before, found, after = tail.rpartition(answer)
    if not found:
        return answer
    start = len(before.rstrip("*_` "))
    end = len(tail) - len(after.lstrip("*_` ."))
    return tail[start:end].strip()


@cache
def _scorer(task: str) -> Callable[[str, dict[str, Any]], float]:
    from reasoning_gym.factory import DATASETS, get_score_answer_fn  # about a second to import

    if task in EXCLUDED:
        raise VerifierError(f"reasoning_gym's '{task}' can't be verified: {EXCLUDED[task]}")
    if task not in DATASETS:
        raise VerifierError(f"reasoning_gym has no data set '{task}'{did_you_mean(task, DATASETS)}")
    return get_score_answer_fn(task)


def _item(entry: str | dict[str, Any]) -> dict[str, Any] | None:
    """The item, or None if it has no answer: where that is empty, scorers take junk for it."""
    if isinstance(entry, str):
        try:
            entry = json.loads(entry)
        except (ValueError, RecursionError):
            return None
    return entry if isinstance(entry, dict) and entry.get("answer") else None
