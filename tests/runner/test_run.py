"""A run skips what is finished, redoes what changed, and leaves nothing half-made behind."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import align
from align.errors import AlignError
from align.runner.lock import locked
from align.runner.store import MANIFEST, Store
from align.stages import prompts as prompts_stage

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """\
name: r
stages:
  a: {kind: prompts, source: a.jsonl, heldout: 1}
  b: {kind: prompts, source: b.jsonl, heldout: 1}
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    for name in ("a", "b"):
        rows = [{"prompt": f"{name}{i}?", "answer": str(i)} for i in range(4)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path / "r.yaml"


def run(recipe: Path, *overrides: str, **settings):
    return align.run(recipe, overrides, runs=recipe.parent / "runs", quiet=True, **settings)


def states(done) -> dict[str, str]:
    return {s.name: s.state for s in done.stages}


def test_a_second_run_skips_everything(recipe):
    assert states(run(recipe)) == {"a": "done", "b": "done"}
    assert states(run(recipe)) == {"a": "skipped", "b": "skipped"}


def test_a_changed_stage_alone_runs_again(recipe):
    run(recipe)
    assert states(run(recipe, "stages.a.heldout=2")) == {"a": "done", "b": "skipped"}


def test_the_plan_says_what_will_run_and_why(recipe):
    run(recipe)
    with (recipe.parent / "b.jsonl").open("a") as stream:
        stream.write('{"prompt": "new?", "answer": "1"}\n')
    planned = align.plan(recipe, ["stages.a.heldout=2"], runs=recipe.parent / "runs")
    reasons = {s.name: s.reason for s in planned.stages}
    assert reasons == {"a": "heldout: 1 -> 2", "b": "file b.jsonl changed"}


def test_only_from_and_fresh_choose_the_stages(recipe):
    assert states(run(recipe, only="b")) == {"a": "pending", "b": "done"}
    assert states(run(recipe, start="b")) == {"a": "done", "b": "done"}
    assert states(run(recipe, fresh=True)) == {"a": "done", "b": "done"}
    with pytest.raises(AlignError, match="no stage 'c'"):
        run(recipe, only="c")


def test_a_manifest_says_what_was_made_from_what(recipe):
    folder = run(recipe)["a"]
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["rows"] == {"kept": 4, "dropped": {"duplicate": 0, "over_limit": 0}}
    assert manifest["artifact"] == "prompts"
    assert manifest["versions"]["torch"]


def test_a_failed_stage_leaves_no_artifact_and_names_the_row(recipe):
    (recipe.parent / "b.jsonl").write_text('{"prompt": "x?", "answer": "1"}\n{broken\n')
    with pytest.raises(AlignError, match=r"b\.jsonl:2: this line is not JSON"):
        run(recipe)
    folder = recipe.parent / "runs" / "r"
    assert (folder / "a" / MANIFEST).exists()
    assert not (folder / "b").exists()
    assert {s["name"]: s["state"] for s in json.loads((folder / "run.json").read_text())["stages"]}[
        "b"
    ] == "failed"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no rows"),
        ('{"promt": "x?", "answer": "1"}\n', "column 'prompt' is missing or empty; did you mean"),
        ('{"prompt": 3, "answer": "1"}\n', "row 1: a prompt is a text or a list"),
        ("[1]\n", "a row is a JSON object, not list"),
        ('{"prompt": "x?", "answer": "1"}\n', "lower heldout"),
    ],
)
def test_bad_data_is_told_with_what_to_do(recipe, content, message):
    (recipe.parent / "a.jsonl").write_text(content)
    with pytest.raises(AlignError, match=message):
        run(recipe)


def test_one_run_folder_takes_one_run(recipe):
    with locked(recipe.parent / "runs" / "r"):
        code = (
            "import sys, align\n"
            "try: align.run(sys.argv[1], runs=sys.argv[2], quiet=True)\n"
            "except ValueError as error: print(error)"
        )
        words = [sys.executable, "-c", code, str(recipe), str(recipe.parent / "runs")]
        other = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"in use by another run (process {os.getpid()})" in other.stdout
    run(recipe)


def test_a_commit_killed_between_manifest_and_rename_is_finished(recipe, monkeypatch):
    """The state right after the kill is made by a rename that never happens."""
    monkeypatch.setattr(Store, "_install", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(recipe, only="a")
    monkeypatch.undo()
    monkeypatch.setattr(prompts_stage, "run", lambda job: pytest.fail("made again"))
    assert states(run(recipe, only="a")) == {"a": "skipped", "b": "pending"}
    assert not list((recipe.parent / "runs" / "r" / ".work").iterdir())


def test_half_done_work_of_an_older_recipe_is_cleared(recipe):
    store = Store(recipe.parent / "runs" / "r")
    old = store.work("a", "0" * 64, 1)
    (old / "checkpoint").write_text("x")
    run(recipe)
    assert not old.exists()


def cli(*words: str) -> tuple[subprocess.CompletedProcess, float]:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "align", *words], cwd=ROOT, capture_output=True, text=True
    )
    return done, time.monotonic() - started


def test_the_command_exits_with_2_and_no_traceback_on_a_users_mistake(recipe):
    recipe.write_text(RECIPE.replace("heldout: 1}", "heldoud: 1}", 1))
    for command in ("run", "plan"):
        done, seconds = cli(command, str(recipe))
        assert done.returncode == 2
        assert "r.yaml:3:39: unknown key 'heldoud'" in done.stderr
        assert "Traceback" not in done.stderr
        assert seconds < 5  # about one second on a quiet machine


def test_the_command_plans_runs_and_reports(recipe):
    runs = str(recipe.parent / "runs")
    assert "not made yet" in cli("plan", str(recipe), "--runs", runs)[0].stdout
    done, _ = cli("run", str(recipe), "--runs", runs)
    assert done.returncode == 0, done.stderr
    assert (recipe.parent / "runs" / "r" / "report.html").exists()
    assert "finished" in cli("plan", str(recipe), "--runs", runs)[0].stdout
    assert cli("--version")[0].stdout.strip() == align.__version__
