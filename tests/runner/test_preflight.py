"""Names that lead nowhere are found before anything runs, in the rooms that know them."""

import pytest

import align
import rewards
from align.recipe.errors import RecipeError
from rewards import registry
from verifiers import VerifierError

RECIPE = """\
name: p
stages:
  m: {{kind: model, path: folder}}
  a: {{kind: prompts, source: a.jsonl}}
  s: {{kind: synth, method: {method}, model: m, prompts: a, verifier: {verifier}{extra}}}
  g: {{kind: grpo, model: m, prompts: a, rewards: [{reward}], order: given}}
"""
GOOD = {"method": "rejection_sampling", "verifier": "math", "extra": "", "reward": "math"}


def plan(tmp_path, **changes):
    (tmp_path / "r.yaml").write_text(RECIPE.format(**{**GOOD, **changes}))
    (tmp_path / "folder").mkdir(exist_ok=True)
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "mine.py").write_text("def good(completions, **_): ...\n")
    return align.plan(tmp_path / "r.yaml", runs=tmp_path / "runs")


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    @rewards.reward
    def short(completions, **_):
        return [0.0 for _ in completions]

    return short


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "rejection"}, r"unknown synthesis method 'rejection'; did you mean"),
        ({"extra": ", sampels: 3"}, "unknown key 'sampels': .*; did you mean 'samples'"),
        ({"extra": ", pairs_per_prompt: two"}, "pairs_per_prompt takes int, not 'two'"),
        ({"extra": ", samples: 0"}, "samples is 0; give a whole number of at least 1"),
        ({"extra": ", judge: m"}, "rejection_sampling has no use for 'judge'"),
        ({"extra": ", output: prompts"}, "makes sft or preference, not prompts"),
        ({"extra": ", distinct: words"}, "distinct is 'words'; give one of text, equations"),
        ({"verifier": "maths"}, "'maths' is no verifier or file.py:name; did you mean 'math'"),
        ({"reward": "moth"}, "'moth' is no verifier, reward-model stage or file.py:name"),
        ({"reward": "mine.py:god"}, r"no 'god' in mine\.py; did you mean 'good'"),
        ({"reward": "nopackage.module:f"}, "the package 'nopackage' is not installed"),
        ({"reward": "m"}, "'m' is no verifier, reward-model stage"),
        ({"reward": "math], order: variance, args: {}} #"}, "order 'variance' scores queries by"),
    ],
)
def test_each_is_told_with_its_place(tmp_path, changes, message):
    with pytest.raises(RecipeError, match=r"r\.yaml:\d+:\d+: .*" + message):
        plan(tmp_path, **changes)


def test_a_source_that_the_method_cannot_start_from_is_told(tmp_path):
    changed = RECIPE.replace("prompts: a, verifier", "data: [a.jsonl], verifier")
    (tmp_path / "r.yaml").write_text(changed.format(**GOOD))
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(RecipeError, match="rejection_sampling starts from prompts, not from data"):
        align.plan(tmp_path / "r.yaml", runs=tmp_path / "runs")


def test_a_method_without_what_it_needs_is_told(tmp_path):
    changed = RECIPE.replace(", verifier: {verifier}", "")
    (tmp_path / "r.yaml").write_text(changed.format(**GOOD))
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(RecipeError, match="rejection_sampling needs 'verifier'"):
        align.plan(tmp_path / "r.yaml", runs=tmp_path / "runs")


def test_a_methods_prompt_files_are_part_of_the_fingerprint(tmp_path, monkeypatch):
    def fingerprint():
        return {s.name: s.stage.fingerprint for s in plan(tmp_path).stages}["s"]

    before = fingerprint()
    assert fingerprint() == before
    monkeypatch.setattr("synth.methods.PROMPTS", tmp_path)
    (tmp_path / "rejection_sampling").mkdir()
    (tmp_path / "rejection_sampling" / "any.en.txt").write_text("version: 1\n[user]\nx")
    assert fingerprint() != before


def test_functions_in_files_and_registered_ones_are_found(tmp_path, short):
    for reward in ("mine.py:good", "short"):
        planned = plan(tmp_path, reward=reward).stages
        assert reward in planned[-1].stage.identity["files"]


def test_a_registered_functions_source_is_part_of_the_fingerprint(tmp_path, short, monkeypatch):
    def fingerprint():
        return {s.name: s.stage.fingerprint for s in plan(tmp_path, reward="short").stages}["g"]

    before = fingerprint()
    assert fingerprint() == before
    monkeypatch.setattr(rewards, "sources", lambda: {"short": "def short(): another"})
    assert fingerprint() != before


def test_a_registered_function_cannot_be_launched(tmp_path, short):
    """The processes of a launch are new ones, in which nothing was registered."""
    plan(tmp_path, reward="short")
    with pytest.raises(RecipeError, match="is launched, and its processes do not know"):
        align.plan(tmp_path / "r.yaml", ["launch.num_processes=2"], runs=tmp_path / "runs")


def test_where_code_cant_be_isolated_a_recipe_that_runs_code_is_refused(tmp_path, monkeypatch):
    def none():
        raise VerifierError("there is no sandbox: apt-get install bubblewrap")

    monkeypatch.setattr("verifiers.code.sandbox", none)
    with pytest.raises(RecipeError, match=r"r\.yaml:\d+:\d+: there is no sandbox: apt-get"):
        plan(tmp_path, reward="code")
    with pytest.raises(RecipeError, match=r"r\.yaml:\d+:\d+: there is no sandbox: apt-get"):
        plan(tmp_path, method="execution_feedback", verifier="math")
    assert plan(tmp_path, reward="math")
