"""The whole chain as a user runs it: finished, skipped, killed in every stage, on two processes."""

import hashlib
import json
import random
import signal
import time
from pathlib import Path

import pytest
from miniature import finish, start

pytestmark = pytest.mark.slow
STAGES = ["corpus", "tokenizer", "base", "math", "sft", "pairs", "dpo", "rm", "grpo", "scores"]
SAME_BYTES = ("*.safetensors", "*.parquet", "tokenizer.json", "scores.json", "config.json")


def manifest(run: Path, stage: str) -> dict:
    return json.loads((run / stage / "manifest.json").read_text())


def content(run: Path) -> dict[str, str]:
    """Digest of everything that a stage made and another reads."""
    files = [f for pattern in SAME_BYTES for f in run.glob(f"*/{pattern}")]
    return {
        str(f.relative_to(run)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(files)
    }


def test_every_stage_makes_a_whole_artifact(undisturbed):
    for stage in STAGES:
        made = manifest(undisturbed, stage)
        assert made["rows"].get("kept", 1) > 0
        assert made["wall_seconds"] > 0
    trained = {manifest(undisturbed, s)["weights_sha256"] for s in ("base", "sft", "dpo", "grpo")}
    assert len(trained) == 4
    assert not list(undisturbed.glob("*/*.bin"))
    scores = json.loads((undisturbed / "scores" / "scores.json").read_text())
    assert list(scores["models"]) == ["base", "sft", "dpo", "grpo"]
    assert "<html" in (undisturbed / "report.html").read_text()


def test_one_template_and_one_end_of_turn_along_the_chain(undisturbed):
    facts = ("tokenizer_sha256", "chat_template_sha256", "end_of_turn")
    models = ("tokenizer", "base", "sft", "dpo", "rm", "grpo")
    assert len({tuple(manifest(undisturbed, m)[f] for f in facts) for m in models}) == 1


def test_a_second_run_is_quick_and_skips_every_stage(undisturbed):
    started = time.monotonic()
    output = finish(undisturbed.parent)
    assert output.count("finished before, skipped") == len(STAGES)
    assert time.monotonic() - started < 5


def kill_in(stage: str, runs: Path, after_s: float) -> None:
    """Start the run and kill -9 it some time into `stage`."""
    process = start(runs)
    while not list((runs / "quickstart" / ".work").glob(f"{stage}@*")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_in_every_stage_the_run_ends_with_the_same_bytes(undisturbed, tmp_path):
    moments = random.Random(7)
    for stage in STAGES:
        kill_in(stage, tmp_path, manifest(undisturbed, stage)["wall_seconds"] * moments.random())
    finish(tmp_path)
    assert content(tmp_path / "quickstart") == content(undisturbed)
    assert not list((tmp_path / "quickstart" / ".work").iterdir())


def test_another_seed_gives_other_bytes(undisturbed, tmp_path):
    """The control of the test above: equal bytes are not a matter of course."""
    finish(tmp_path, "--set", "seed=18", "--only", "corpus")
    ours, theirs = content(undisturbed), content(tmp_path / "quickstart")
    assert ours["corpus/prompts.parquet"] != theirs["corpus/prompts.parquet"]


def test_two_processes_train_on_each_row_once(undisturbed):
    """By `launch` in the recipe; both ranks' tokens add up to the rows', as on one process."""
    alone = json.loads((undisturbed / "sft" / "metrics.jsonl").read_text().splitlines()[-2])
    words = ("--set", "stages.sft.launch.num_processes=2", "--only", "sft", "--fresh")
    halved = ("--set", "stages.sft.args.per_device_train_batch_size=16")
    finish(undisturbed.parent, *words, *halved)
    made = manifest(undisturbed, "sft")
    both = json.loads((undisturbed / "sft" / "metrics.jsonl").read_text().splitlines()[-2])
    assert made["num_processes"] == 2
    assert both["step"] == alone["step"]
    assert both["num_tokens"] == pytest.approx(alone["num_tokens"], rel=0.05)
