"""Fingerprints change with what a stage means, and with nothing else."""

from align.recipe.load import load_recipe
from align.recipe.plan import changes, plan_stages

RECIPE = """\
name: p
stages:
  a: {kind: prompts, source: a.jsonl, heldout: 1}
  b: {kind: prompts, source: b.jsonl, heldout: 1}
  m: {kind: model, path: folder}
  s: {kind: synth, method: rejection_sampling, model: m, prompts: a, verifier: "check.py:mine"}
"""


def fingerprints(tmp_path, overrides=()):
    stages = plan_stages(load_recipe(tmp_path / "r.yaml", overrides))
    return {s.name: s.fingerprint for s in stages}


def prepare(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    (tmp_path / "folder").mkdir()
    for name in ("a.jsonl", "b.jsonl", "folder/config.json", "check.py"):
        (tmp_path / name).write_text("{}\n")


def changed(tmp_path, action=lambda: None, overrides=()):
    before = fingerprints(tmp_path)
    action()
    after = fingerprints(tmp_path, overrides)
    return {name for name in before if before[name] != after[name]}


def test_nothing_changed_means_equal_fingerprints(tmp_path):
    prepare(tmp_path)
    assert changed(tmp_path) == set()


def test_a_changed_stage_changes_itself_and_what_depends_on_it(tmp_path):
    prepare(tmp_path)
    assert changed(tmp_path, overrides=["stages.a.heldout=2"]) == {"a", "s"}
    assert changed(tmp_path, overrides=["stages.s.samples=3"]) == {"s"}


def test_the_content_of_named_files_counts(tmp_path):
    prepare(tmp_path)
    assert changed(tmp_path, lambda: (tmp_path / "b.jsonl").write_text("[]")) == {"b"}
    assert changed(tmp_path, lambda: (tmp_path / "check.py").write_text("#")) == {"s"}
    weights = tmp_path / "folder" / "model.safetensors"
    assert changed(tmp_path, lambda: weights.write_text("w")) == {"m", "s"}


def test_the_seed_counts_and_the_number_of_processes_does_not(tmp_path):
    prepare(tmp_path)
    assert changed(tmp_path, overrides=["seed=5"]) == {"a", "b", "m", "s"}
    assert changed(tmp_path, overrides=["launch.num_processes=2"]) == set()


def test_changes_are_told_in_the_recipes_words():
    old = {"config": {"args": {"beta": 0.1}}, "inputs": {"a": "1"}, "files": {"f.py": "1"}}
    new = {"config": {"args": {"beta": 0.2}}, "inputs": {"a": "2"}, "files": {"f.py": "2"}}
    assert changes(old, new) == ["args.beta: 0.1 -> 0.2", "file f.py changed", "input a changed"]
