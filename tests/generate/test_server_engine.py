import random

import pytest

from align.generate import Completion, GenerationError, Sampling
from tests.generate.asking import ask, conversations, echo, error, in_turn, served
from tests.generate.scripted_server import Reply, completion

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


# What is asked


def test_answers_get_to_their_places_whatever_the_order_they_come_in():
    draw = random.Random(0)

    def slowly(request, number):
        return Reply(completion(echo(request, number)), delay_s=draw.random() / 50)

    with served(slowly) as (_, engine):
        texts = [answer.text for answer in ask(engine, 100)]
    assert texts == [f"to question {i}" for i in range(100)]


def test_a_request_is_one_sample_and_says_how_it_is_drawn():
    with served(echo) as (server, engine):
        ask(engine, sampling=Sampling(temperature=0.7, top_p=0.9, max_tokens=11))
        [asked] = server.requests
    assert 0 <= asked.pop("seed") < 2**31
    assert asked == {
        "model": "m",
        "messages": [{"role": "user", "content": "question 0"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 11,
    }


def test_top_k_schema_and_logprobs_are_sent_where_they_are_asked_for():
    with served(echo) as (server, engine):
        ask(engine, sampling=Sampling(top_k=5), schema=SCHEMA, top_logprobs=3)
        [asked] = server.requests
    assert asked["top_k"] == 5
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA
    assert asked["response_format"]["json_schema"]["strict"] is True
    assert (asked["logprobs"], asked["top_logprobs"]) == (True, 3)


def test_a_server_that_follows_no_schemas_is_sent_none():
    with served(echo, follows_schemas=False) as (server, engine):
        ask(engine, schema=SCHEMA)
        assert "response_format" not in server.requests[0]


def test_the_seed_is_the_same_in_every_run_and_another_for_each_sample_prompt_and_seed():
    def seeds(seed):
        with served(echo) as (server, engine):
            prompts = [prompt for prompt in conversations(3) for _ in range(4)]
            ask(engine, prompts=prompts, samples=[0, 1, 2, 3] * 3, seed=seed)
            return sorted(asked["seed"] for asked in server.requests)

    first, again, other = seeds(1), seeds(1), seeds(2)
    assert first == again
    assert len(set(first)) == 12
    assert not set(first) & set(other)


def test_the_key_is_sent_as_a_bearer_token():
    with served(echo, api_key="s3cret\n") as (server, engine):
        ask(engine)
        assert b"\r\nAuthorization: Bearer s3cret\r\n" in server.last_head + b"\r\n"


# What is answered


def test_a_completion_has_its_text_its_end_and_its_tokens():
    with served(in_turn(completion("yes", finish="length", tokens=7))) as (_, engine):
        assert ask(engine) == [Completion("yes", (), (), "length", 7)]


def test_generate_gives_all_samples_of_each_prompt():
    with served(lambda request, number: completion(str(request["seed"]))) as (_, engine):
        groups = engine.generate(conversations(3), n=4, sampling=Sampling(), seed=0)
    assert [len(group) for group in groups] == [4, 4, 4]
    assert len({answer.text for group in groups for answer in group}) == 12


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_in_a_field_of_its_own_stands_before_the_answer(field):
    with served(in_turn(completion("4", **{field: "2 and 2"}))) as (_, engine):
        assert ask(engine)[0].text == "<think>\n2 and 2\n</think>\n\n4"


def test_reasoning_that_was_cut_off_stays_without_its_end():
    reply = completion(None, finish="length", reasoning="2 and")
    with served(in_turn(reply)) as (_, engine):
        assert ask(engine)[0].text == "<think>\n2 and"


def test_first_logps_are_those_of_the_first_token_with_equal_texts_added_up():
    tops = [[("A", -1.0), ("B", -2.0), ("A", -1.0)], [("C", -0.1)]]
    content = [
        {"top_logprobs": [{"token": token, "logprob": logp} for token, logp in top]} for top in tops
    ]
    with served(in_turn(completion("A", logprobs={"content": content}))) as (_, engine):
        [answer] = ask(engine, top_logprobs=3)
    assert answer.first_logps == pytest.approx({"A": -1.0 + 0.6931472, "B": -2.0})


def test_logprobs_that_do_not_come_are_a_failure():
    with served(in_turn("A")) as (_, engine):
        assert ask(engine, top_logprobs=3)[0].reason == "no_logprobs"


def test_half_a_surrogate_pair_in_an_answer_spoils_nothing():
    body = b'{"choices":[{"message":{"content":"a\\ud83d"},"finish_reason":"stop"}]}'
    with served(in_turn(body)) as (_, engine):
        assert ask(engine)[0].text == "a\ud83d"


def test_a_prompt_that_is_no_text_fails_alone():
    prompts = [[{"role": "user", "content": text}] for text in ("good", "half a pair: \ud83d")]
    with served(echo) as (_, engine):
        good, bad = ask(engine, prompts=prompts)
    assert good.text == "to good"
    assert bad.reason == "bad_prompt"


@pytest.mark.parametrize("name", ["m", "m-2026-11-27", "m@20261127", "other/name"])
def test_the_model_by_its_name_with_a_date_or_as_it_is_served_is_the_model(name):
    reply = completion("yes", model=name)
    with served(in_turn(reply), served_as="other/name") as (_, engine):
        assert ask(engine)[0].text == "yes"


@pytest.mark.parametrize("name", ["m-mini", "n", "m.1", "M"])
def test_an_answer_of_another_model_is_none(name):
    with served(in_turn(completion("yes", model=name))) as (server, engine):
        [answer] = ask(engine)
        assert answer.reason == "other_model"
        assert name in answer.detail and "served_as" in answer.detail
        assert server.num_asked == 1


# Embeddings


def test_texts_are_embedded_in_their_order_64_at_once():
    with served(echo) as (server, engine):
        rows = engine.embed(["x" * length for length in range(150)])
        assert rows == [[float(length)] for length in range(150)]
        assert sorted(len(asked["input"]) for asked in server.requests) == [22, 64, 64]


def test_embeddings_that_cannot_be_had_are_an_error_after_retries():
    def script(request, number):
        return error(500, "no such layer")

    with served(echo, embed=script, retries=2) as (server, engine):
        with pytest.raises(GenerationError, match="http_500: no such layer"):
            engine.embed(["a"])
        assert server.num_asked == 3
