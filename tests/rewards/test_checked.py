import threading
import time
from collections.abc import Callable

import numpy
import pytest
import torch

from rewards import RewardError, checked
from verifiers import VerifierError

PROMPTS = [[{"role": "user", "content": f"question {n}"}] for n in range(3)]
COMPLETIONS = [[{"role": "assistant", "content": f"answer {n}"}] for n in range(3)]
NAN, INF = float("nan"), float("inf")


def returning(value: object) -> Callable:
    def mine(completions, **columns):
        return value

    return mine


def bad_on_row_1(completions, **columns):
    if any(c[0]["content"] == "answer 1" for c in completions):
        raise KeyError("no such thing")
    return [1.0] * len(completions)


@pytest.mark.parametrize(
    "value",
    [
        [1, 0, 0.5],
        (True, False, 0.5),
        [numpy.float32(1), numpy.int64(0), numpy.float64(0.5)],
        numpy.array([1, 0, 0.5]),
        torch.tensor([1, 0, 0.5], dtype=torch.bfloat16),
        [torch.tensor(1.0), torch.tensor(0), 0.5],
    ],
    ids=repr,
)
def test_every_usual_form_of_reward_becomes_floats(value: object) -> None:
    scores = checked(returning(value))(COMPLETIONS, prompts=PROMPTS)
    assert scores == [1.0, 0.0, 0.5] and {type(s) for s in scores} == {float}


def test_none_stays_none() -> None:
    assert checked(returning([None, 1, None]))(COMPLETIONS) == [None, 1.0, None]


@pytest.mark.parametrize("bad", [NAN, INF, -INF, "1", [1.0], 10**400, numpy.nan, torch.tensor(INF)])
def test_what_is_no_finite_number_is_named_with_its_row_and_prompt(bad: object) -> None:
    with pytest.raises(RewardError, match=r"reward 'mine' returned .* row 1 .*'question 1'"):
        checked(returning([0.0, bad, 0.0]))(COMPLETIONS, prompts=PROMPTS)


@pytest.mark.parametrize(("policy", "value"), [("skip", None), ("zero", 0.0)])
@pytest.mark.parametrize("function", [returning([1.0, NAN, 1.0]), bad_on_row_1])
def test_policies_change_the_bad_row_only_and_count_it(
    policy: str, value: float | None, function: Callable
) -> None:
    logged = {}
    guarded = checked(function, "mine", on_error=policy)
    scores = guarded(COMPLETIONS, prompts=PROMPTS, log_metric=logged.__setitem__)
    assert scores == [1.0, value, 1.0]
    assert logged == {f"rewards/mine/{'skipped' if policy == 'skip' else 'zeroed'}": 1.0}


def test_an_exception_is_traced_to_its_row() -> None:
    with pytest.raises(RewardError, match=r"raised KeyError: .* row 1 .*'question 1'") as caught:
        checked(bad_on_row_1)(COMPLETIONS, prompts=PROMPTS)
    assert isinstance(caught.value.__cause__, KeyError)


def test_columns_follow_their_row_when_rows_are_tried_alone() -> None:
    def mine(completions, answer, **columns):
        return [1.0 / float(a) for a in answer]

    guarded = checked(mine, on_error="skip")
    assert guarded(COMPLETIONS, answer=["1", "0", "2"]) == [1.0, None, 0.5]


def test_a_failure_of_the_batch_alone_falls_on_every_row() -> None:
    def mine(completions, **columns):
        if len(completions) > 1:
            raise RuntimeError("too many")
        return [1.0]

    assert checked(mine, on_error="skip")(COMPLETIONS) == [None] * 3
    with pytest.raises(RewardError, match="only when the rows are scored together"):
        checked(mine)(COMPLETIONS)


@pytest.mark.parametrize("policy", ["error", "skip", "zero"])
@pytest.mark.parametrize("value", [[], [1.0], [1.0] * 4, None, 1.0, "abc", torch.tensor(1.0)])
def test_a_wrong_number_of_rewards_is_an_error_under_every_policy(policy, value) -> None:
    if value == "abc":
        value = iter([1.0, 2.0, 3.0])
    with pytest.raises(RewardError, match="reward 'mine' returned"):
        checked(returning(value), on_error=policy)(COMPLETIONS, prompts=PROMPTS)


def test_a_hanging_row_is_found_and_the_rest_is_scored() -> None:
    release = threading.Event()

    def mine(completions, **columns):
        if any(c[0]["content"] == "answer 1" for c in completions):
            release.wait(20)
        return [1.0] * len(completions)

    started = time.perf_counter()
    try:
        with pytest.raises(RewardError, match=r"within 0.1 s \(its thread can't be killed.*row 1"):
            checked(mine, timeout_s=0.1)(COMPLETIONS, prompts=PROMPTS)
        assert checked(mine, on_error="skip", timeout_s=0.1)(COMPLETIONS) == [1.0, None, 1.0]
    finally:
        release.set()
    assert time.perf_counter() - started < 5


def test_a_failed_call_logs_nothing_and_a_good_one_once() -> None:
    def mine(completions, log_metric, log_extra, **columns):
        log_extra("seen", [c[0]["content"] for c in completions])
        log_metric("calls", 1.0)
        return bad_on_row_1(completions)

    entries = []
    logs = {key: lambda *entry: entries.append(entry) for key in ("log_metric", "log_extra")}
    checked(mine, on_error="skip")(COMPLETIONS, **logs)
    assert entries == [("rewards/mine/skipped", 1.0)]
    entries.clear()
    checked(mine)(COMPLETIONS[:1], **logs)
    assert entries == [("seen", ["answer 0"]), ("calls", 1.0)]


def test_async_functions_are_run_and_unusable_data_always_ends_the_run() -> None:
    async def later(completions, **columns):
        return [2.0] * len(completions)

    def unusable(completions, **columns):
        raise VerifierError("no column")

    assert checked(later, timeout_s=5)(COMPLETIONS) == [2.0] * 3
    assert checked(later).__name__ == "later"
    for timeout_s in (None, 5):
        with pytest.raises(VerifierError):
            checked(unusable, on_error="skip", timeout_s=timeout_s)(COMPLETIONS)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="on_error is 'ignore'"):
        checked(bad_on_row_1, on_error="ignore")
    with pytest.raises(ValueError, match="timeout_s is 0"):
        checked(bad_on_row_1, timeout_s=0)
