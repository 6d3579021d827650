import time
from email.utils import formatdate

import pytest

from align.generate import Failure, Sampling
from align.generate.server_replies import refused
from tests.generate.asking import ask, echo, error, in_turn, served
from tests.generate.scripted_server import Reply, Wire, completion

WHOLE = Reply(completion("x" * 100)).raw()
PASSING = {
    "http_408": error(408, "slow"),
    "http_409": error(409, "conflict"),
    "http_429": error(429, "too many"),
    "http_500": error(500, "crashed"),
    "http_502": Reply(b"<html>bad gateway</html>", 502),
    "http_503": error(503, "loading"),
    "http_504": error(504, "gateway"),
    "http_529": error(529, "overloaded"),
    "connection": None,
    "garbage": b"<html>hello</html>",
    "garbage: no JSON object": b"[]",
    "garbage: no choices": {"choices": []},
    "garbage: no message": {"choices": [{"finish_reason": "stop"}]},
    "garbage: a number as text": completion(5),
    "garbage: not HTTP": Wire(b"\x00\xff hello\r\n\r\n"),
    "half_json": WHOLE.partition(b"\r\n\r\n")[2][:50],
    "half_json: connection broken": Wire(WHOLE[:-50]),
    "unfinished": completion("ye", finish="abort"),
}


@pytest.mark.parametrize("trouble", PASSING)
def test_trouble_that_passes_costs_a_retry_with_the_same_body(trouble):
    with served(in_turn(PASSING[trouble], "yes")) as (server, engine):
        assert ask(engine)[0].text == "yes"
        assert list(server.asked.values()) == [2]


@pytest.mark.parametrize("trouble", PASSING)
def test_trouble_that_stays_is_counted_under_its_name_after_all_retries(trouble):
    with served(in_turn(PASSING[trouble]), retries=2) as (server, engine):
        [answer] = ask(engine)
        assert answer.reason == trouble.partition(":")[0]
        assert server.num_asked == 3


@pytest.mark.parametrize("status", [302, 400, 403, 404, 413, 422])
def test_a_request_that_the_server_refuses_is_not_repeated(status):
    with served(in_turn(error(status, "no such thing"))) as (server, engine):
        assert ask(engine) == [Failure(f"http_{status}", "no such thing")]
        assert server.num_asked == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 4096 tokens. However, you requested 5000"),
        (400, "The input (9 tokens) is longer than the model's context length (8 tokens)."),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"),
        (400, "prompt is too long: 210000 tokens > 200000 maximum"),
        (413, "context_length_exceeded"),
    ],
)
def test_a_prompt_beyond_the_context_is_too_long(status, message):
    with served(in_turn(error(status, message))) as (server, engine):
        assert ask(engine) == [Failure("too_long", message)]
        assert server.num_asked == 1


def test_a_filtered_answer_is_not_asked_for_again():
    with served(in_turn(completion("", finish="content_filter"))) as (server, engine):
        assert ask(engine)[0].reason == "content_filter"
        assert server.num_asked == 1


@pytest.mark.parametrize(("temperature", "tries"), [(1.0, 2), (0.0, 1)])
@pytest.mark.parametrize("text", [None, "", " \n"])
def test_an_empty_answer_is_asked_for_once_more_where_chance_is_involved(temperature, tries, text):
    with served(in_turn(completion(text))) as (server, engine):
        [answer] = ask(engine, sampling=Sampling(temperature=temperature))
        assert answer.reason == "empty"
        assert server.num_asked == tries


def test_an_empty_answer_after_other_trouble_is_asked_for_once_more_too():
    with served(in_turn(error(500, "crashed"), "", "yes")) as (_, engine):
        assert ask(engine)[0].text == "yes"


def test_an_answer_cut_off_before_its_first_word_is_no_empty_one():
    with served(in_turn(completion("", finish="length"))) as (_, engine):
        assert ask(engine)[0].finish_reason == "length"


def test_a_server_that_lets_a_request_lie_times_out():
    with served(in_turn(Reply(completion("late"), delay_s=9)), timeout_s=0.1, retries=1) as (
        server,
        engine,
    ):
        assert ask(engine)[0].reason == "timeout"
        assert server.num_asked == 2


def test_a_server_that_dies_fails_the_rest_as_connection():
    with served(echo, retries=1) as (server, engine):
        assert ask(engine)[0].text == "to question 0"
        server.close()
        assert [answer.reason for answer in ask(engine, 5)] == ["connection"] * 5


def test_all_requests_wait_as_long_as_the_server_asks_to_be_left_alone():
    came = []

    def script(request, number):
        came.append(time.monotonic())
        return error(429, "wait", **{"Retry-After": "0.3"}) if number == 0 else "yes"

    with served(script, max_concurrency=2) as (_, engine):
        assert [answer.text for answer in ask(engine, 12)] == ["yes"] * 12
    assert sum(moment < came[0] + 0.29 for moment in came) <= 3


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0.5", 0.5), ("3600", 60), ("-1", 0), ("nan", 0), ("soon", 0), ("", 0)],
)
def test_the_time_to_wait_is_read_in_seconds_and_at_most_a_minute(header, seconds):
    assert refused(429, header, b"").after_s == seconds


def test_the_time_to_wait_may_be_told_as_a_date():
    assert 25 < refused(503, formatdate(time.time() + 30, usegmt=True), b"").after_s <= 30
    assert refused(503, formatdate(0, usegmt=True), b"").after_s == 0


def test_failures_do_not_keep_other_requests_from_being_answered():
    def script(request, number):
        place = int(request["messages"][0]["content"].split()[1])
        return error(400, "no") if place % 3 == 0 else echo(request, number)

    with served(script) as (_, engine):
        answers = ask(engine, 30)
    assert [isinstance(answer, Failure) for answer in answers] == [i % 3 == 0 for i in range(30)]
