"""Progress lines outside of a terminal: throughput and time left, a phase at a time."""

import io

import pytest

from align.runner import progress
from align.runner.progress import Progress, duration


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_throughput_and_time_left_follow_from_what_this_process_did(clock):
    stream = io.StringIO()
    with Progress("[1/1] sft", stream) as show:
        show(100, 400)  # resumed at step 100
        clock[0] = 20.0
        show(200, 400, loss=0.5)
    assert lines(stream) == [
        "[1/1] sft started",
        "[1/1] sft  200/400 steps  5 steps/s  0:40 left  loss 0.5",
    ]


def test_another_unit_starts_another_count(clock):
    stream = io.StringIO()
    with Progress("grpo", stream) as show:
        show(0, 800, "queries scored")
        clock[0] = 100.0
        show(1, 40)
        clock[0] = 120.0
        show(11, 40)
    assert "11/40 steps  0.5 steps/s  0:58 left" in lines(stream)[-1]


def test_lines_come_no_more_often_than_every_fifteen_seconds(clock):
    stream = io.StringIO()
    with Progress("x", stream) as show:
        for second in range(60):
            clock[0] = float(second)
            show(second, 60)
    assert len(lines(stream)) == 1 + 3


def test_durations_read_as_clocks():
    assert [duration(s) for s in (5, 65, 7265)] == ["0:05", "1:05", "2:01:05"]


def test_a_value_that_is_none_is_shown_as_a_dash():
    assert (progress._number(None), progress._number(0.25), progress._number(1234.5)) == (
        "-",
        "0.25",
        "1,234",
    )
