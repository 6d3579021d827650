"""The verdict on an answer: in this process where that is quick, else in a worker."""

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from math import inf, isfinite
from typing import Any

from verifiers.extract import final_answers
from verifiers.math.agreement import Algebra, is_collection, same
from verifiers.math.answer_types import Unreadable
from verifiers.math.notation import tidy
from verifiers.math.numbers import Number, numbers_equal, read_number
from verifiers.verdict import Verdict, VerifierError, concurrent
from verifiers.workers import WorkerFailure, WorkerPool

MAX_ANSWER_CHARS = 4_000
"""Longer answers are wrong unread, unless they are the reference to the letter."""

_RECYCLE_AFTER = 2_000
"""Items a worker answers before it is replaced: sympy keeps what it has seen."""

_WRONG = ("not_equal", "unparsable_answer", "too_long")
_NO_ANSWER = re.compile(  # what data sets put where an answer should be
    r"(?:see|refer to)\s(?:the\s)?(?:figure|diagram|graph|picture|solution|proof|above|below)\.?"
    r"|answers?\s(?:may\s|will\s)?var(?:y|ies)|n\s?/\s?a|proof|omitted",
    re.IGNORECASE,
)


class _NeedsAlgebra(Exception):
    """This can't be decided in this process."""


def _needs_algebra(answer: str, reference: str) -> bool:
    raise _NeedsAlgebra


def _pool_of(workers: int) -> WorkerPool:
    return WorkerPool("verifiers.math.equivalence", workers, recycle_after=_RECYCLE_AFTER)


class _Settings:
    timeout_s = 3.0
    pool = _pool_of(int(os.environ.get("VERIFIERS_MATH_WORKERS") or len(os.sched_getaffinity(0))))


def configure(*, workers: int | None = None, timeout_s: float | None = None) -> None:
    """Set the number of worker processes (by default one a CPU, or VERIFIERS_MATH_WORKERS) and the
    seconds each comparison may take (by default 3). For the whole process; ends running workers.
    """
    if workers is not None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1")
        _Settings.pool.close()
        _Settings.pool = _pool_of(workers)
    if timeout_s is not None:
        _Settings.timeout_s, _ = _limits(timeout_s, None)


@concurrent
def verify(
    completion: str,
    reference: str | int | float,
    *,
    timeout_s: float | None = None,
    tolerance: float | None = None,
    **columns: Any,
) -> Verdict:
    """Compare the final answer of `completion` with that of `reference`.

    The reference is an answer, or a worked solution whose final answer is marked. timeout_s: from
    when a worker starts on it. tolerance: relative, for every comparison of numbers; by default as
    described above. Reasons: `equal`, `not_equal`, `no_answer`, `unparsable_answer`, `too_long`;
    with correct None `unparsable_reference`, `timeout` and `verifier_error`. Raises VerifierError
    for a timeout_s or tolerance that is no positive number.
    """
    seconds, tolerance = _limits(timeout_s, tolerance)
    item = _decide(completion, reference, tolerance)
    return item if isinstance(item, Verdict) else _ask_workers([item], seconds, tolerance)[0]


def verify_batch(
    completions: Sequence[str],
    references: Sequence[str | int | float],
    *,
    timeout_s: float | None = None,
    tolerance: float | None = None,
) -> list[Verdict]:
    """One verdict a completion, in order, shared out among the workers; see `verify`.

    Raises ValueError if the lengths differ.
    """
    if len(completions) != len(references):
        raise ValueError(f"{len(completions)} completions, but {len(references)} references")
    seconds, tolerance = _limits(timeout_s, tolerance)
    pairs = zip(completions, references, strict=True)
    items = [_decide(completion, reference, tolerance) for completion, reference in pairs]
    open_items = [item for item in items if not isinstance(item, Verdict)]
    answers = iter(_ask_workers(open_items, seconds, tolerance))
    verdicts = [item if isinstance(item, Verdict) else next(answers) for item in items]
    assert len(verdicts) == len(completions)
    return verdicts


def _limits(timeout_s: float | None, tolerance: float | None) -> tuple[float, float | None]:
    for name, value in (("timeout_s", timeout_s), ("tolerance", tolerance)):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 < value < inf):
            raise VerifierError(f"{name} is {value!r}; it must be a positive number")
    return _Settings.timeout_s if timeout_s is None else timeout_s, tolerance


def _decide(completion: str, reference: Any, tolerance: float | None) -> Verdict | tuple[str, str]:
    """The verdict where no algebra is needed, else answer and reference, tidied."""
    expected, number = _expected(reference) if isinstance(reference, str) else _given(reference)
    if not expected:
        return Verdict(None, 0.0, "unparsable_reference", f"reference: {str(reference)[:80]!r}")
    answers = final_answers(completion)
    if not answers:
        return Verdict(False, 0.0, "no_answer")
    if answers[-1] == expected:
        return Verdict(True, 1.0, "equal")
    several = len(answers) > 1 and is_collection(expected)
    answer = ", ".join(answers) if several else answers[-1]
    for text, reason in ((expected, "unparsable_reference"), (answer, "too_long")):
        if len(text) > MAX_ANSWER_CHARS:
            return _verdict(reason, f"{len(text)} characters; {MAX_ANSWER_CHARS} are read")
    if number is not None and (said := read_number(answer) or read_number(tidy(answer))):
        return _comparison(numbers_equal(said, number, tolerance), answer, expected)
    answer = tidy(answer)
    algebra = Algebra(_needs_algebra, _needs_algebra, _needs_algebra, tolerance)
    try:
        return _comparison(same(answer, expected, algebra), answer, expected)
    except _NeedsAlgebra:
        return answer, expected
    except Unreadable as error:
        return _verdict(f"unparsable_{error.side}", f"{answer[:80]!r} and {expected[:80]!r}")


@lru_cache(maxsize=1024)
def _expected(reference: str) -> tuple[str, Number | None]:
    """The tidied answer, "" if there is none, and the number that it is."""
    text = ", ".join(final_answers(reference))
    if _NO_ANSWER.fullmatch(text):
        return "", None
    tidied = tidy(text) if len(text) <= MAX_ANSWER_CHARS else text
    return tidied, read_number(tidied)


def _given(reference: Any) -> tuple[str, Number | None]:
    is_number = isinstance(reference, int | float) and not isinstance(reference, bool)
    if not is_number or (isinstance(reference, float) and not isfinite(reference)):
        return "", None
    return str(reference), read_number(str(reference))


def _ask_workers(
    items: list[tuple[str, str]], seconds: float, tolerance: float | None
) -> list[Verdict]:
    requests = [
        {"answer": answer, "reference": expected, "tolerance": tolerance, "timeout_s": seconds}
        for answer, expected in items
    ]
    replies = _Settings.pool.map(requests, seconds) if requests else []
    return [_verdict_on(item, reply) for item, reply in zip(items, replies, strict=True)]


def _verdict_on(item: tuple[str, str], reply: dict[str, Any] | WorkerFailure) -> Verdict:
    if not isinstance(reply, WorkerFailure):
        return _verdict(reply["outcome"], f"{item[0][:80]!r} and {item[1][:80]!r}")
    if reply.reason == "cannot_start":
        raise VerifierError(
            f"verifier 'math' can't compare expressions: {reply.detail}; install "
            "'math-verify[antlr4_13_2]'"
        )
    is_late = reply.reason == "timeout"
    detail = f"{item[0][:80]!r} and {item[1][:80]!r}: {reply}"
    return _verdict("timeout" if is_late else "verifier_error", detail)


def _comparison(is_equal: bool, answer: str, expected: str) -> Verdict:
    return _verdict("equal" if is_equal else "not_equal", f"{answer[:80]!r} and {expected[:80]!r}")


def _verdict(reason: str, detail: str) -> Verdict:
    if reason == "equal":
        return Verdict(True, 1.0, reason)
    return Verdict(False if reason in _WRONG else None, 0.0, reason, detail)
