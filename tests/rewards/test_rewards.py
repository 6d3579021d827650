from pathlib import Path

import pytest
from trl.trainer.utils import get_callable_name

import rewards
from rewards import RewardError, combine, from_verifier, resolve, reward
from verifiers import Verdict, VerifierError


def conversation(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_a_verifier_scores_conversations_and_strings_and_counts_the_undecided() -> None:
    logged = {}
    scores = from_verifier("math")(
        completions=[conversation("#### 3"), "#### 4", "#### 3"],
        prompts=["p", "p", "p"],
        completion_ids=[[1], [2], [3]],
        trainer_state=object(),
        log_metric=logged.__setitem__,
        answer=["3", "3", "no\nmark"],
    )
    assert scores == [1.0, 0.0, None]
    assert logged == {
        "rewards/math/undecided": 1.0,
        "rewards/math/undecided/unparsable_reference": 1.0,
    }


def test_messages_without_words_or_of_several_parts_are_read():
    calls = [{"role": "assistant", "tool_calls": [{}]}, {"role": "tool", "content": "#### 4"}]
    parts = [
        {"role": "assistant", "content": [{"type": "text", "text": "#### 3"}, {"type": "image"}]}
    ]
    answers = {"answer": ["3", "3"]}
    assert from_verifier("math")([calls + conversation("#### 3"), parts], **answers) == [1.0, 1.0]


def test_a_verifier_gets_its_own_row_and_nothing_of_the_trainer() -> None:
    seen = []

    def mine(completion: str, reference: str, **columns: object) -> Verdict:
        seen.append(columns)
        return Verdict(True, 0.5, "ok")

    function = from_verifier(mine)
    columns = {"completion_ids": [[1], [2]], "trainer_state": 1, "log_extra": print}
    assert function(
        ["a", "b"], prompts=["p", "q"], answer=["1", "2"], id=["x", "y"], **columns
    ) == [
        0.5,
        0.5,
    ]
    assert seen == [{"id": "x", "prompt": "p"}, {"id": "y", "prompt": "q"}]
    assert get_callable_name(function) == "mine"


def test_a_missing_reference_column_is_named() -> None:
    with pytest.raises(VerifierError, match=r"needs the column 'answer'.*target"):
        from_verifier("math")(["a"], target=["1"])


def test_specs_resolve_to_functions(tmp_path: Path) -> None:
    @reward
    def brevity(completions, **columns):
        return [1.0] * len(completions)

    (tmp_path / "mine.py").write_text(
        "from rewards import reward\n@reward\ndef shouting(completions, **columns):\n"
        "    return [float(c.isupper()) for c in completions]\n"
    )
    assert resolve("brevity", tmp_path) is brevity
    assert resolve("mine.py:shouting", tmp_path)(["A", "a"]) == [1.0, 0.0]
    assert resolve("shouting", tmp_path)(["A"]) == [1.0]
    assert resolve("math", tmp_path).__name__ == "math"
    with pytest.raises(ValueError, match=r"unknown reward 'brevty'; did you mean 'brevity'.*math"):
        resolve("brevty", tmp_path)


def test_an_edited_function_replaces_itself_and_a_strangers_does_not(tmp_path: Path) -> None:
    text = "from rewards import reward\n@reward\ndef tone(completions, **c):\n    return [VALUE]\n"
    for value in ("1.0", "2.0"):
        (tmp_path / "mine.py").write_text(text.replace("VALUE", value))
        assert resolve("mine.py:tone", tmp_path)(["x"]) == [float(value)]
    assert resolve("tone", tmp_path)(["x"]) == [2.0]
    (tmp_path / "other.py").write_text(text)
    with pytest.raises(ValueError, match=r"other\.py:2: RewardError.*already registered"):
        resolve("other.py:tone", tmp_path)


def test_a_verifiers_name_is_taken() -> None:
    def math(completions, **columns): ...

    with pytest.raises(ValueError, match="'math' is a verifier's name"):
        rewards.reward(math)


def test_combine_sums_what_there_is() -> None:
    def first(completions, **columns):
        return [1.0, None, None, 2.0]

    def second(completions, **columns):
        return [1.0, 3.0, None, None]

    both = combine([first, second], [0.5, 2.0])
    assert both(["a"] * 4) == [2.5, 6.0, None, 1.0]
    assert get_callable_name(both) == "first+second"
    with pytest.raises(ValueError, match="2 reward functions and 1 weights"):
        combine([first, second], [1.0])
    with pytest.raises(rewards.RewardError, match="'first' returned 4 rewards for 2"):
        both(["a", "b"])


def test_a_registered_functions_source_is_known_and_its_absence_told(monkeypatch):
    from rewards import registry, sources

    monkeypatch.setattr(registry, "_registered", {})

    @reward
    def tone(completions, **columns):
        return [1.0 for _ in completions]

    assert "def tone" in sources()["tone"]
    typed: dict = {}
    exec("def typed(completions, **columns): return []", typed)
    reward(typed["typed"])
    with pytest.raises(RewardError, match="source of reward 'typed' cannot be read"):
        sources()
