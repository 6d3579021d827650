"""The recipes under recipes/synth run as they stand, and show kept and rejected rows."""

import json
from collections import Counter
from pathlib import Path

import pytest

import align
import synth
from align.stages.tables import DATA, PROMPTS, REJECTED, read_table

FOLDER = Path(__file__).resolve().parents[2] / "recipes" / "synth"
NEED_MORE = {"server"}  # a server
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem not in NEED_MORE)


def test_every_method_has_an_example():
    assert sorted(synth.NAMES) == RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_it_runs_and_accounts_for_every_row(name, tmp_path):
    run = align.run(FOLDER / f"{name}.yaml", runs=tmp_path, quiet=True)
    made = [s.name for s in run.stages if s.stage.config.kind == "synth"]
    assert made
    dropped: Counter[str] = Counter()
    for stage in made:
        rows = json.loads((run[stage] / "manifest.json").read_text())["rows"]
        kept = next(run[stage] / t for t in (DATA, PROMPTS) if (run[stage] / t).is_file())
        assert rows["kept"] == len(read_table(kept)) > 0
        for row in read_table(kept):
            provenance = json.loads(row["provenance"])
            assert provenance["method"] == name and provenance["parents"]
        if rows["dropped"]:
            rejected = Counter(row["reason"] for row in read_table(run[stage] / REJECTED))
            assert rejected == rows["dropped"]
        dropped.update(rows["dropped"])
        assert not [reason for reason in rows if "not_recorded" in reason], rows
    assert dropped, "an example should show what is rejected too"


@pytest.mark.parametrize("name", sorted(NEED_MORE))
def test_a_recipe_that_needs_more_can_be_planned(name, tmp_path):
    assert align.plan(FOLDER / f"{name}.yaml", runs=tmp_path).stages
