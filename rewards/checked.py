"""A reward function that can't poison a training run.

TRL takes what a reward function returns as it is: an infinite reward turns the advantages of its
whole group into zeros without a word, and a function that hangs stops the run for good.
"""

import asyncio
import functools
import inspect
import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from rewards.rows import batch_of_one, start_of
from rewards.verified import Reward
from verifiers import VerifierError

OnError = Literal["error", "skip", "zero"]
POLICIES = ("error", "skip", "zero")


class RewardError(ValueError):
    """A reward function failed on a row, or returned something that is no reward."""


class _Failure(Exception):
    """Why a call or one of its values is no good, in words."""


def name_of(function: Callable) -> str:
    """The name that TRL gives a reward function in its metrics."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def checked(
    function: Reward,
    name: str | None = None,
    on_error: OnError = "error",
    timeout_s: float | None = None,
) -> Reward:
    """Wrap a reward function so that whatever it does becomes floats, None, or a RewardError.

    Bad are: an exception, NaN or infinity, something that is no number, no return within
    `timeout_s` seconds. on_error: "error" raises RewardError with the function's name, the row and
    the start of its prompt; "skip" makes the row None; "zero" makes it 0.0. Both are counted by
    `log_metric` as `rewards/<name>/skipped` and `rewards/<name>/zeroed`. A wrong number of rewards
    is always an error: no telling which row they belong to.

    After an exception or a time-out the rows are scored again one at a time, to find the guilty
    one; if none fails alone, the policy falls on the whole batch. A call that fails, and these
    calls, log nothing. A hanging call goes on in its thread: nothing can kill it. `async def`
    functions are run to their end. `verifiers.VerifierError` always gets through: the whole data
    set lacks what the verifier needs.
    """
    if on_error not in POLICIES:
        raise ValueError(f"on_error is '{on_error}'; give one of {', '.join(POLICIES)}")
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"timeout_s is {timeout_s}; give seconds above 0, or None for no limit")
    shown = name or name_of(function)

    def reward(
        completions: list[Any], prompts: list[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        arguments = {"completions": completions, "prompts": prompts, **columns}
        scores: list[float | None] = []
        num_bad = 0
        for row, outcome in enumerate(_outcomes(function, shown, arguments, timeout_s)):
            if not isinstance(outcome, _Failure):
                scores.append(outcome)
                continue
            if on_error == "error":
                raise RewardError(_message(shown, outcome, row, prompts)) from outcome.__cause__
            num_bad += 1
            scores.append(None if on_error == "skip" else 0.0)
        if "log_metric" in columns and on_error != "error":
            metric = "skipped" if on_error == "skip" else "zeroed"
            columns["log_metric"](f"rewards/{shown}/{metric}", float(num_bad))
        return scores

    reward.__name__ = shown
    return reward


def _outcomes(
    function: Reward, name: str, arguments: dict[str, Any], timeout_s: float | None
) -> Iterator[float | _Failure | None]:
    """A score or a failure for each row, in order; lazily, as a retried row may cost a time-out."""
    num_rows = len(arguments["completions"])
    logged: list[tuple[str, tuple[Any, ...]]] = []
    try:
        returned = _call(function, _with_logs(arguments, logged), timeout_s)
    except _Failure as failure:
        yield from _row_outcomes(function, name, arguments, timeout_s, failure)
        return
    values = _as_list(returned, name, num_rows)
    for logger, entry in logged:
        arguments[logger](*entry)
    for value in values:
        yield _as_float(value)


def _row_outcomes(
    function: Reward,
    name: str,
    arguments: dict[str, Any],
    timeout_s: float | None,
    batch_failure: _Failure,
) -> Iterator[float | _Failure | None]:
    num_rows = len(arguments["completions"])
    held_back: list[float | None] = []  # until a row fails alone, these scores may mean nothing
    some_row_failed = False
    for row in range(num_rows):
        alone = _with_logs(batch_of_one(arguments, row, num_rows), [])
        try:
            (value,) = _as_list(_call(function, alone, timeout_s), name, 1)
            outcome = _as_float(value)
        except _Failure as failure:
            outcome = failure
        if isinstance(outcome, _Failure) and not some_row_failed:
            some_row_failed = True
            yield from held_back
        if some_row_failed:
            yield outcome
        else:
            held_back.append(outcome)
    if not some_row_failed:
        together = _Failure(f"{batch_failure}, but only when the rows are scored together")
        together.__cause__ = batch_failure.__cause__
        yield from [together] * num_rows


def _with_logs(arguments: dict[str, Any], logged: list) -> dict[str, Any]:
    """The arguments with TRL's loggers writing to `logged`: a failing call must leave no trace."""

    def recorder(logger: str) -> Callable[..., None]:
        return lambda *entry: logged.append((logger, entry))

    loggers = [key for key in ("log_metric", "log_extra") if key in arguments]
    return {**arguments, **{logger: recorder(logger) for logger in loggers}}


def _call(function: Reward, arguments: dict[str, Any], timeout_s: float | None) -> Any:
    """What the function returns. Raises _Failure if it raises or does not return in time."""
    if timeout_s is None:
        return _call_here(function, arguments)
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((True, _call_here(function, arguments)))
        except Exception as error:
            answers.put((False, error))

    # A daemon, so that a call which never returns can't keep the process from ending.
    threading.Thread(target=work, daemon=True, name="reward").start()
    try:
        returned, answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise _Failure(
            f"did not return within {timeout_s:g} s (its thread can't be killed and goes on)"
        ) from None
    if not returned:
        raise answer
    return answer


def _call_here(function: Reward, arguments: dict[str, Any]) -> Any:
    try:
        returned = function(**arguments)
        return asyncio.run(returned) if inspect.iscoroutine(returned) else returned
    except VerifierError:
        raise
    except Exception as error:
        raise _Failure(f"raised {type(error).__name__}: {str(error)[:300]}") from error


def _as_list(returned: Any, name: str, num_rows: int) -> list[Any]:
    values = returned.tolist() if hasattr(returned, "tolist") else returned
    if not isinstance(values, list | tuple):
        raise RewardError(
            f"reward '{name}' returned {type(returned).__name__}; return a list with one number or "
            "None for each completion"
        )
    if len(values) != num_rows:
        raise RewardError(
            f"reward '{name}' returned {len(values)} rewards for {num_rows} completions; return "
            "exactly one each, in order (None where there is no reward)"
        )
    return list(values)


def _as_float(value: Any) -> float | _Failure | None:
    if value is None:
        return None
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # a numpy or torch scalar
        value = value.item()
    if not isinstance(value, int | float):
        return _Failure(f"returned {type(value).__name__} {str(value)[:40]!r}, which is no number")
    try:
        score = float(value)
    except OverflowError:  # an int beyond the largest float
        score = math.inf
    return score if math.isfinite(score) else _Failure(f"returned {score}")


def _message(name: str, failure: _Failure, row: int, prompts: Sequence[Any] | None) -> str:
    prompt = start_of(prompts[row] if prompts is not None else None)
    return (
        f"reward '{name}' {failure}, on row {row} of the batch, whose prompt starts {prompt}; mend "
        "the function, or set on_error to 'skip' (the row counts for nothing) or 'zero'"
    )
