import contextlib
import json
import os
import signal
import threading

import jsonschema
import pytest
import torch
from small import CONTEXT, GREEDY, SCHEMA, answered, conversations, tokenizer
from transformers import AutoModelForCausalLM

from align.generate import GenerationError, Sampling
from align.generate.tokens import prompt_tokens
from align.generate.vllm_engine import VllmEngine

pytestmark = pytest.mark.vllm

SETTINGS = {
    "dtype": "float32",
    "enforce_eager": True,
    "kv_cache_memory_bytes": 64 * 2**20,
    "max_num_seqs": 16,
    # A step can't read all the prompts that wait, so that some would be read in parts if allowed:
    # on a CPU, vLLM 0.30 dies of that where a request has a seed.
    "max_num_batched_tokens": CONTEXT,
    # Without it a random model writes blanks for ever, which JSON allows.
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
}


@pytest.fixture(scope="module")
def engine(model_folder):
    with VllmEngine(model_folder, fingerprint="tiny", **SETTINGS) as engine:
        yield engine


def test_greedy_answers_of_our_model_equal_the_local_engines(engine, local):
    prompts = conversations(40)
    theirs = answered(engine, prompts)
    ours = answered(local, prompts)
    assert sorted(theirs) == list(range(40))
    for place, expected in ours.items():
        found = theirs[place]
        assert found.token_ids == expected.token_ids
        assert found.text == expected.text
        assert found.finish_reason == expected.finish_reason
        assert found.num_tokens == expected.num_tokens
        assert found.logps == pytest.approx(expected.logps, abs=1e-3)
    assert {answer.finish_reason for answer in ours.values()} == {"stop", "length"}


def test_sampling_is_repeatable_by_seed_and_differs_between_samples(engine):
    prompts = [prompt for prompt in conversations(5) for _ in range(4)]
    samples = [0, 1, 2, 3] * 5
    sampling = Sampling(max_tokens=20)
    drawn, again, other = (
        {
            place: answer.token_ids
            for place, answer in answered(engine, prompts, samples, sampling, seed).items()
        }
        for seed in (1, 1, 2)
    )
    assert drawn == again
    assert drawn != other
    assert len(set(drawn.values())) > 15


def test_logps_are_the_models_own_whatever_the_sampling(engine, local):
    prompts = conversations(6)
    sampling = Sampling(temperature=0.7, top_k=20, top_p=0.9, max_tokens=30)
    found = answered(engine, prompts, sampling=sampling, seed=3)
    for place, start in enumerate(prompt_tokens(local.tokenizer, prompts)):
        ids = torch.tensor([start + list(found[place].token_ids)])
        with torch.no_grad():
            logprobs = local.model(input_ids=ids).logits[0, len(start) - 1 : -1].log_softmax(-1)
        expected = logprobs.gather(1, ids[0, len(start) :, None])[:, 0].tolist()
        assert found[place].logps == pytest.approx(expected, abs=1e-3)


def test_the_likeliest_first_tokens_are_those_of_the_local_engine(engine, local):
    prompts = conversations(3)
    theirs = answered(engine, prompts, top_logprobs=25)
    for place, expected in answered(local, prompts, top_logprobs=25).items():
        assert theirs[place].first_logps == pytest.approx(expected.first_logps, abs=1e-3)


def test_a_schema_is_followed(engine):
    found = answered(
        engine, conversations(10), sampling=Sampling(max_tokens=60), seed=4, schema=SCHEMA
    )
    values = [json.loads(answer.text) for answer in found.values()]
    for value in values:
        jsonschema.validate(value, SCHEMA)
    assert len({json.dumps(value) for value in values}) > 1
    assert all(answer.finish_reason == "stop" for answer in found.values())
    # Nothing but an opening brace is allowed first.
    assert all(answer.logps[0] == pytest.approx(0, abs=1e-6) for answer in found.values())


def test_a_schema_that_vllm_cannot_follow_fails_by_name(engine):
    found = answered(engine, conversations(2), schema={"type": "nonsense"})
    assert [answer.reason for answer in found.values()] == ["refused"] * 2


def test_a_prompt_beyond_the_context_fails_alone(engine):
    prompts = [[{"role": "user", "content": "a" * CONTEXT}], *conversations(1)]
    found = answered(engine, prompts)
    assert found[0].reason == "too_long"
    assert str(CONTEXT) in found[0].detail
    assert found[1].token_ids


def test_completions_end_with_the_context(engine, local):
    prompts = [[{"role": "user", "content": "a" * 90}]] * 8
    sampling = Sampling(max_tokens=100)
    found = answered(engine, prompts, list(range(8)), sampling)
    [start] = prompt_tokens(local.tokenizer, prompts[:1])
    cut = [answer for answer in found.values() if answer.finish_reason == "length"]
    assert cut
    assert all(answer.num_tokens == CONTEXT - len(start) for answer in cut)


def test_answers_come_before_the_last_is_made(engine):
    batches = []
    engine.answer(
        conversations(100),
        [0] * 100,
        sampling=Sampling(max_tokens=40),
        seed=0,
        on_answers=lambda some: batches.append(len(some)),
    )
    assert sum(batches) == 100
    assert max(batches) <= SETTINGS["max_num_seqs"]


def test_what_on_answers_raises_ends_the_call_and_spares_the_engine(engine):
    calls = []

    def full(some):
        calls.append(some)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        engine.answer(conversations(50), [0] * 50, sampling=GREEDY, seed=0, on_answers=full)
    assert len(calls) == 1
    assert len(answered(engine, conversations(3))) == 3


def test_threads_share_the_engine_and_each_gets_its_own_answers(engine):
    prompts = [conversations(20, seed) for seed in range(3)]
    alone = [answered(engine, some) for some in prompts]
    together = [None] * 3

    def ask(number):
        together[number] = answered(engine, prompts[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [{place: answer.token_ids for place, answer in found.items()} for found in together] == [
        {place: answer.token_ids for place, answer in found.items()} for found in alone
    ]


def test_a_killed_vllm_is_a_named_error_and_the_next_call_starts_it_again(model_folder):
    with VllmEngine(model_folder, fingerprint="tiny", **SETTINGS) as engine:
        answered(engine, conversations(1))
        first = engine.pid

        def kill(some):
            with contextlib.suppress(ProcessLookupError):  # more answers may have been on the way
                os.kill(first, signal.SIGKILL)

        with pytest.raises(GenerationError, match=r"vLLM was killed by SIGKILL(.|\n)*INFO"):
            engine.answer(conversations(200), [0] * 200, sampling=GREEDY, seed=0, on_answers=kill)
        assert len(answered(engine, conversations(3))) == 3
        second = engine.pid
        assert second != first
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_a_vllm_that_does_not_start_says_why(model_folder):
    engine = VllmEngine(model_folder, fingerprint="tiny", **SETTINGS, max_model_len=1000)
    with pytest.raises(GenerationError, match=r"before it was ready(.|\n)*max_model_len"):
        answered(engine, conversations(1))


def test_a_model_that_computes_no_numbers_is_an_error_and_not_a_text(model_folder, tmp_path):
    broken = AutoModelForCausalLM.from_pretrained(model_folder)
    with torch.no_grad():
        broken.lm_head.weight.fill_(float("nan"))
    broken.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with (
        VllmEngine(tmp_path, fingerprint="broken", **SETTINGS) as engine,
        pytest.raises(GenerationError, match="NaN"),
    ):
        answered(engine, conversations(1))
