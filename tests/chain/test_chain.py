"""The whole chain as a user runs it: finished, skipped, killed in every stage, on two processes."""

import hashlib
import json
import random
import signal
import time
from pathlib import Path

import psutil
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

    def at_work() -> bool:
        return bool(list((runs / "quickstart" / ".work").glob(f"{stage}@*")))

    while not at_work():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    deadline = time.monotonic() + after_s
    # A stage may be done sooner than the undisturbed one was, and the next one is to be killed too.
    while at_work() and time.monotonic() < deadline:
        time.sleep(0.005)
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


def tokens_a_step(undisturbed: Path, num_processes: int, batch: int) -> list[float]:
    """Tokens that SFT has seen after each step, over all processes."""
    settings = {
        "launch.num_processes": num_processes,
        "args.per_device_train_batch_size": batch,
        "args.max_steps": 2,
    }
    sets = [w for key, v in settings.items() for w in ("--set", f"stages.sft.{key}={v}")]
    finish(undisturbed.parent, *sets, "--only", "sft", "--fresh")
    assert manifest(undisturbed, "sft")["num_processes"] == num_processes
    points = (undisturbed / "sft" / "metrics.jsonl").read_text().splitlines()
    return [point["num_tokens"] for point in map(json.loads, points) if "num_tokens" in point]


def test_two_processes_see_together_the_rows_that_one_sees(undisturbed):
    alone = tokens_a_step(undisturbed, 1, 16)
    assert alone[0] > 0
    assert tokens_a_step(undisturbed, 2, 8) == alone
    assert tokens_a_step(undisturbed, 1, 8) != alone


def processes_of(runs: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if str(runs) in (process.info["cmdline"] or []):
            found.append(process)
    return found


def test_launched_processes_end_with_the_run_that_launched_them(undisturbed):
    """Else the next run would find the lock free, and the old processes still writing."""
    runs = undisturbed.parent
    process = start(runs, "--set", "stages.sft.launch.num_processes=2", "--only", "sft", "--fresh")
    while len(processes_of(runs)) < 4:  # the run, its launcher, and two ranks
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while processes_of(runs) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not processes_of(runs)
    finish(runs, "--set", "stages.sft.launch.num_processes=2", "--only", "sft")


REWARDS = """\
def short(completions, **columns):
    return [1.0 if len(c[0]["content"]) < 30 else 0.0 for c in completions]

def raises(completions, **columns):
    raise KeyError("colour")

def nan(completions, **columns):
    return [float("nan")] * len(completions)

def too_few(completions, **columns):
    return [1.0]
"""


def with_reward(name: str, undisturbed: Path, folder: Path) -> tuple[int, str]:
    """Exit code and output of GRPO with a reward function in a file of the user's own."""
    (folder / "mine.py").write_text(REWARDS)
    setting = f"stages.grpo.rewards=[rm, '{folder}/mine.py:{name}']"
    process = start(undisturbed.parent, "--set", setting, "--only", "grpo")
    output = process.communicate()[0]
    return process.returncode, output


def test_a_reward_of_the_users_own_is_used_by_grpo(undisturbed, tmp_path):
    code, output = with_reward("short", undisturbed, tmp_path)
    assert code == 0, output
    logged = json.loads((undisturbed / "grpo" / "metrics.jsonl").read_text().splitlines()[0])
    assert 0 <= logged["rewards/short/mean"] <= 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "reward 'raises' raised KeyError: 'colour', on row 0 of the batch"),
        ("nan", "reward 'nan' returned nan, on row 0 of the batch, whose prompt starts"),
        ("too_few", "reward 'too_few' returned 1 rewards for 64 completions"),
    ],
)
def test_a_reward_that_goes_wrong_is_named_without_a_traceback(
    undisturbed, tmp_path, name, message
):
    code, output = with_reward(name, undisturbed, tmp_path)
    assert code == 2
    assert message in output
    assert "Traceback" not in output
