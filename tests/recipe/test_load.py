"""A recipe's mistakes are found with file, line and column, and a word on what to do."""

from pathlib import Path

import pytest

from align.recipe.errors import RecipeError
from align.recipe.graph import inputs_of, topological
from align.recipe.load import load_recipe

GOOD = """\
name: small
seed: 3
stages:
  corpus: {kind: corpus, problems: {documents: 10, prompts: 5, heldout: 5}, prose_characters: 100}
  tok: {kind: tokenizer, corpus: corpus}
  base: {kind: pretrain, corpus: corpus, tokenizer: tok}
  math:
    kind: synth
    method: rejection_sampling
    model: base
    prompts: corpus
    verifier: math
  sft: {kind: sft, model: base, data: [math], args: {learning_rate: 7e-6}}
"""


def load(tmp_path: Path, text: str, overrides=()):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return load_recipe(path, overrides)


def problems(tmp_path: Path, text: str, overrides=()) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, text, overrides)
    return [p.replace(str(tmp_path) + "/", "") for p in caught.value.problems]


def test_a_good_recipe_loads_with_yaml_1_2_numbers(tmp_path):
    recipe = load(tmp_path, GOOD)
    assert recipe.stages["sft"].args["learning_rate"] == 7e-6
    assert inputs_of(recipe.stages["sft"], recipe.stages) == ["base", "math"]
    assert topological(recipe.stages) == ["corpus", "tok", "base", "math", "sft"]


def test_stages_may_be_written_in_any_order(tmp_path):
    head, _, stages = GOOD.partition("stages:\n")
    lines = stages.splitlines(keepends=True)
    shuffled = head + "stages:\n" + lines[-1] + "".join(lines[:-1])
    order = topological(load(tmp_path, shuffled).stages)
    assert order.index("sft") > order.index("math") > order.index("base") > order.index("tok")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "seed: 3",
            "sead: 3",
            "r.yaml:2:1: unknown key 'sead' in the recipe; did you mean 'seed'?",
        ),
        (
            "learning_rate: 7e-6",
            "learning_rte: 7e-6",
            "r.yaml:13:54: stages.sft: unknown key 'learning_rte': SFTConfig has no such argument; "
            "did you mean 'learning_rate'?",
        ),
        (
            "learning_rate: 7e-6",
            "num_train_epochs: many",
            "r.yaml:13:54: stages.sft: SFTConfig.num_train_epochs takes float, not str 'many'",
        ),
        (
            "learning_rate: 7e-6",
            "seed: 4",
            "r.yaml:13:54: stages.sft: 'seed' is not yours to set here: "
            "set `seed` at the top of the recipe",
        ),
        (
            "prompts: 5",
            "prompts: five",
            "r.yaml:4:52: stages.corpus.problems.prompts: input should be a valid integer, "
            "not 'five'",
        ),
        (
            "verifier: math",
            "verifier: math\n    model: x",
            'r.yaml:13:5: not valid YAML: found duplicate key "model" with value "x" (original '
            'value: "base")',
        ),
        ("kind: sft", "kind: stf", "r.yaml:13:9: unknown stage kind 'stf'; did you mean 'sft'?"),
        (
            "data: [math]",
            "data: [moth]",
            "r.yaml:13:40: 'moth' is neither a stage nor a file; did you mean 'math'?",
        ),
        (
            "data: [math]",
            "data: [moth.jsonl]",
            "r.yaml:13:40: no such file: moth.jsonl (paths are relative to the recipe)",
        ),
        (
            "model: base, data",
            "model: tok, data",
            "r.yaml:13:20: stage 'sft' wants a model here, but stage 'tok' makes a tokenizer",
        ),
        (
            "model: base\n",
            "model: sft\n",
            "r.yaml:7:3: stage 'math' depends on itself: math -> sft -> math",
        ),
        (
            "verifier: math",
            "verifier: checks.py:mine",
            "r.yaml:12:5: no such file: checks.py (paths are relative to the recipe)",
        ),
    ],
)
def test_each_mistake_is_told_with_its_place(tmp_path, before, after, expected):
    assert before in GOOD
    assert problems(tmp_path, GOOD.replace(before, after, 1)) == [expected]


def test_all_mistakes_are_told_at_once(tmp_path):
    text = GOOD.replace("seed: 3", "sead: 3").replace("kind: sft", "kind: stf")
    assert len(problems(tmp_path, text)) == 2


def test_a_missing_key_is_named(tmp_path):
    text = GOOD.replace("    method: rejection_sampling\n", "")
    assert problems(tmp_path, text) == ["r.yaml:7:3: stages.math needs the key 'method'"]


def test_overrides_apply_and_their_mistakes_name_the_override(tmp_path):
    recipe = load(tmp_path, GOOD, ["stages.sft.args.learning_rate=1e-5", "stages.sft.data.0=math"])
    assert recipe.stages["sft"].args["learning_rate"] == 1e-5
    assert problems(tmp_path, GOOD, ["stages.sft.args.lerning_rate=1"])[0].startswith(
        "--set stages.sft.args.lerning_rate=1: stages.sft: unknown key 'lerning_rate'"
    )
    assert problems(tmp_path, GOOD, ["nonsense"])[0].startswith("--set nonsense: write it as")


def test_a_mapping_of_overrides_reads_like_assignments(tmp_path):
    recipe = load(tmp_path, GOOD, {"stages.sft.args.bf16": False, "seed": 9})
    assert recipe.seed == 9
    assert set(recipe.source.overridden.values()) == {"stages.sft.args.bf16=false", "seed=9"}


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "name: [\n"])
def test_what_is_no_recipe_is_refused(tmp_path, text):
    assert problems(tmp_path, text)


def test_a_missing_recipe_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match="no such recipe file"):
        load_recipe(tmp_path / "absent.yaml")


def test_a_stage_and_a_verifier_may_share_a_name(tmp_path):
    """As in the README's recipe: a stage `math` and rewards by the verifier `math`."""
    grpo = "  grpo: {kind: grpo, model: sft, prompts: corpus, rewards: [math], order: given}\n"
    recipe = load(tmp_path, GOOD + grpo)
    assert inputs_of(recipe.stages["grpo"], recipe.stages) == ["sft", "corpus"]
