"""A synth stage as a user runs it."""

import json
from pathlib import Path

import pytest

import align
from align.report import data_rows
from align.stages.job import StageError
from align.stages.tables import DATA, REJECTED, read_table

RECIPE = """\
name: small
seed: 1
stages:
  model: {{kind: replay, answers: answers.jsonl}}
  problems: {{kind: prompts, source: problems.jsonl, heldout: 0}}
  worked:
    kind: synth
    method: rejection_sampling
    model: model
    prompts: problems
    verifier: {verifier}
    samples: 2
{more}"""


def run(folder: Path, *, answers=("#### 3", "#### 4"), verifier="math", more="", overrides=()):
    problems = [{"prompt": f"What is {n} and {3 - n}?", "answer": "3"} for n in range(3)]
    written = {
        "problems.jsonl": problems,
        "answers.jsonl": [{"contains": ["What"], "answers": list(answers)}],
    }
    for name, rows in written.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "r.yaml").write_text(RECIPE.format(verifier=verifier, more=more))
    return align.run(folder / "r.yaml", overrides, runs=folder / "runs", quiet=True)


def manifest(done, stage="worked"):
    return json.loads((done[stage] / "manifest.json").read_text())


def test_rows_and_rejects_are_written_and_counted(tmp_path):
    done = run(tmp_path)
    rows = manifest(done)["rows"]
    assert len(read_table(done["worked"] / DATA)) == rows["kept"] == 3
    rejected = read_table(done["worked"] / REJECTED)
    assert [row["reason"] for row in rejected] == ["verify:wrong"] * 3
    assert rows["dropped"] == {"verify:wrong": 3} and rows["requests/sent"] == 6


def test_a_stage_that_keeps_nothing_says_where_to_look(tmp_path):
    with pytest.raises(StageError, match=r"kept no rows .*see them: align data show") as caught:
        run(tmp_path, answers=["#### 4"])
    path = Path(str(caught.value).rpartition(" ")[2])
    reasons = [row["reason"] for row in data_rows.open_data(path).rows()]
    assert sorted(set(reasons)) == ["distinct:duplicate", "no_right_answer", "verify:wrong"]


def test_the_store_outlives_a_changed_stage(tmp_path):
    run(tmp_path)
    done = run(tmp_path, overrides=["stages.worked.max_per_prompt=1"])
    rows = manifest(done)["rows"]
    assert rows["requests/saved"] == 6 and "requests/sent" not in rows
    again = run(tmp_path, overrides=["stages.worked.max_per_prompt=1"])
    assert [s.state for s in again.stages] == ["skipped"] * 3


def test_the_chain_goes_on_from_the_rows_that_were_made(tmp_path):
    more = """\
  filtered: {kind: synth, method: filter, model: critic, data: [worked]}
  critic: {kind: replay, answers: critic.jsonl}
"""
    said = json.dumps({"critique": "It is right.", "verdict": "flawless"})
    line = {"contains": ["strict critic"], "answers": [said]}
    (tmp_path / "critic.jsonl").write_text(json.dumps(line) + "\n")
    done = run(tmp_path, more=more, answers=["a\n#### 3", "b\n#### 3"])
    # Two answers to one prompt share its id, and are two rows all the same.
    assert manifest(done)["rows"]["kept"] == 6
    filtered = manifest(done, "filtered")["rows"]
    assert filtered["source"] == 6 and "read:duplicate" not in filtered["dropped"]
    for row in read_table(done["filtered"] / DATA):
        story = json.loads(row["provenance"])
        assert story["before"][0]["method"] == "rejection_sampling"
        assert story["parents"] == [story["before"][0]["row"]]


def test_decontamination_is_a_key_of_the_stage(tmp_path):
    long = " ".join(f"word{n}" for n in range(20))
    (tmp_path / "eval.jsonl").write_text(json.dumps({"question": long}) + "\n")
    more = "    decontaminate: [eval.jsonl]\n"
    done = run(tmp_path, more=more, answers=[f"{long}\n#### 3", "short\n#### 3"])
    assert manifest(done)["rows"]["dropped"] == {"contaminated": 3}
    rejected = read_table(done["worked"] / REJECTED)
    assert all("in common with eval.jsonl:1:question" in row["detail"] for row in rejected)
