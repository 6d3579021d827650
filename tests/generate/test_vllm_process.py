"""What surrounds vLLM, with a scripted program in its place."""

import json
import os
import queue
import signal
import threading
import time
from pathlib import Path

import pytest
from transformers import Qwen2Config

from align.generate import GenerationError, vllm_engine, vllm_process
from align.generate.vllm_engine import VllmEngine
from align.generate.vllm_folder import readable_by_vllm
from align.generate.vllm_process import VllmProcess
from align.model import QwenConfig

# Answers each request with its own tokens, and does what its first token says.
WORKER = """
import json, os, subprocess, sys
arguments = json.loads(sys.stdin.readline())
if "fail" in arguments:
    sys.exit("ValueError: " + arguments["fail"])
child = subprocess.Popen(["sleep", "60"])
aborted = []
print(json.dumps({"context": 10}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "abort" in request:
        aborted += request["abort"]
        continue
    if request["tokens"][0] == "aborted":
        request["tokens"] = [aborted]
    if request["tokens"][0] == "die":
        print("out of memory", file=sys.stderr, flush=True)
        os._exit(3)
    if request["tokens"][0] == "half":
        print('[{"id": 0, "tok', end="", flush=True)
        os._exit(4)
    if request["tokens"][0] == "child":
        request["tokens"] = [child.pid]
    print(json.dumps([{"id": request["id"], "tokens": request["tokens"]}]), flush=True)
"""


@pytest.fixture(autouse=True)
def scripted(monkeypatch, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    monkeypatch.setattr(vllm_process, "WORKER", worker)


def ask(process, *tokens):
    """The replies to one request for each argument, by number."""
    replies = queue.SimpleQueue()
    numbers = process.ask([{"tokens": [token]} for token in tokens], replies)
    found = [replies.get(timeout=10) for _ in numbers]
    return {reply["id"]: reply["tokens"][0] for reply in found if reply is not None}


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid):
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_running(pid)


def test_each_caller_gets_the_replies_to_its_own_requests():
    with VllmProcess({}) as process:
        assert process.context == 10
        found = [None] * 4

        def call(number):
            found[number] = list(ask(process, *range(100 * number, 100 * number + 50)).values())

        threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [list(range(100 * n, 100 * n + 50)) for n in range(4)]


def test_what_nobody_waits_for_any_more_is_called_off():
    with VllmProcess({}) as process:
        numbers = process.ask([{"tokens": [1]}, {"tokens": [2]}], queue.SimpleQueue())
        process.forget(numbers)
        assert list(ask(process, "aborted").values()) == [numbers]


@pytest.mark.parametrize(
    ("word", "says"), [("die", r"exit code 3(.|\n)*out of memory"), ("half", "exit code 4")]
)
def test_a_death_reaches_everybody_who_waits_with_the_last_words(word, says):
    with VllmProcess({}) as process:
        assert ask(process, word, 1, 2) == {}
        with pytest.raises(GenerationError, match=says):
            raise process.death()
        with pytest.raises(GenerationError, match=says):
            ask(process, 1)


def test_a_start_that_fails_says_why():
    with pytest.raises(GenerationError, match=r"before it was ready(.|\n)*ValueError: no such"):
        VllmProcess({"fail": "no such model"})


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_what_the_process_started_ends_with_it(how):
    with VllmProcess({}) as process:
        [child] = ask(process, "child").values()
        assert is_running(child)
        if how == "killed":
            os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(GenerationError, match="killed by SIGKILL"):
                raise process.death()
            assert ends(child)
    assert ends(process.pid)
    assert ends(child)


def test_without_vllm_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(vllm_engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GenerationError, match=r"pip install 'align-toolkit\[vllm\]'"):
        VllmEngine(tmp_path, fingerprint="x")


def test_the_fingerprint_names_what_decides_answers_and_not_what_decides_speed():
    name = vllm_engine._fingerprint
    assert name("w", {"dtype": "float32"}) != name("w", {"dtype": "bfloat16"}) != name("w", {})
    assert name("w", {"max_num_seqs": 4}) == name("w", {"max_num_seqs": 8}) == name("w", {})


def test_our_model_is_shown_to_vllm_as_the_qwen2_it_computes(tmp_path):
    ours = QwenConfig(hidden_size=64, num_attention_heads=2, num_hidden_layers=1)
    ours.architectures = ["QwenForCausalLM"]
    ours.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with readable_by_vllm(tmp_path) as folder:
        shown = Qwen2Config.from_pretrained(folder)
        assert shown.architectures == ["Qwen2ForCausalLM"]
        assert json.loads(Path(folder, "config.json").read_text())["model_type"] == "qwen2"
        for field in ("hidden_size", "num_key_value_heads", "rms_norm_eps", "rope_parameters"):
            assert getattr(shown, field) == getattr(ours, field)
        assert Path(folder, "model.safetensors").read_bytes() == b"weights"
    assert not Path(folder).exists()
    assert (tmp_path / "model.safetensors").exists()


def test_a_folder_that_vllm_knows_is_left_alone(tmp_path):
    Qwen2Config(hidden_size=64, num_attention_heads=2).save_pretrained(tmp_path)
    with readable_by_vllm(tmp_path) as folder:
        assert folder == str(tmp_path)


def test_heads_that_vllms_qwen2_would_cut_otherwise_are_refused(tmp_path):
    QwenConfig(hidden_size=64, num_attention_heads=2, head_dim=16).save_pretrained(tmp_path)
    with (
        pytest.raises(GenerationError, match="head_dim 16: sample from it with the local engine"),
        readable_by_vllm(tmp_path),
    ):
        pass
