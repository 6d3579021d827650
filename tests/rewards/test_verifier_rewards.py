"""Every verifier as a reward by its name, and as a TRL reward function from Python."""

import json
import time

import pytest

import verifiers
from rewards import from_verifier, resolve
from verifiers import SandboxUnavailable, Verdict, concurrent, grade_all

TABLE = json.dumps([["Rome", 2.8], ["Paris", 2.1]])
ROWS = {
    "math": ("so \\boxed{\\frac{1}{2}}", "so \\boxed{3}", {"answer": "0.5"}),
    "code": (
        "```python\ndef double(x):\n    return 2 * x\n```",
        "```python\ndef double(x):\n    return x\n```",
        {"answer": ["assert double(2) == 4"]},
    ),
    "function": (
        "short",
        "far too long an answer for that",
        {"answer": "def evaluate(response):\n    return len(response) < 10"},
    ),
    "instructions": (
        "no commas here",
        "one, two",
        {"answer": json.dumps([{"id": "punctuation:no_comma"}])},
    ),
    "tables": (
        "Answer:\n\n| city | m |\n|---|---|\n| Rome | 2.8 |\n| Paris | 2.1 |",
        "Answer:\n\n| city | m |\n|---|---|\n| Rome | 2.8 |\n| Paris | 9 |",
        {"answer": json.dumps([["city", "m"], ["Rome", 2.8], ["Paris", 2.1]])},
    ),
    "choice": ("The answer is (B).", "The answer is (A).", {"answer": "B"}),
    "logic": ("The answer is: True", "The answer is: unknown", {"answer": "true"}),
    "format": (
        "<think>why</think>so",
        "so",
        {"answer": "-", "format": json.dumps({"kind": "think"})},
    ),
    "reasoning_gym": (
        "#### 3",
        "#### 4",
        {
            "answer": "3",
            "task": "chain_sum",
            "entry": json.dumps({"question": "1 + 2", "answer": "3", "metadata": {}}),
        },
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _sandbox():
    try:
        verifiers.code.sandbox()
    except (SandboxUnavailable, verifiers.VerifierError) as error:
        pytest.skip(str(error))


def test_there_is_a_row_here_for_every_verifier():
    assert set(ROWS) == set(verifiers.NAMES)


@pytest.mark.parametrize("name", ROWS)
def test_each_name_is_a_reward_that_tells_right_from_wrong(name, tmp_path):
    right, wrong, row = ROWS[name]
    columns = {key: [value] * 3 for key, value in row.items()}
    logged = {}
    scores = resolve(name, tmp_path)(
        [[{"role": "assistant", "content": text}] for text in (right, wrong, "")],
        prompts=["p"] * 3,
        log_metric=logged.__setitem__,
        **columns,
    )
    assert scores[0] == 1.0
    assert scores[1] is not None and scores[1] < 1.0
    assert not scores[2]
    assert logged[f"rewards/{name}/undecided"] == 0.0


def test_where_tasks_are_mixed_a_row_is_judged_by_the_verifier_it_names():
    columns = {"answer": ["3", ["assert double(2) == 4"], "B"], "verifier": ["math", "code", None]}
    texts = ["#### 3", ROWS["code"][0], "The answer is B."]
    assert from_verifier("math")(texts, **columns) == [1.0, None, 1.0]
    assert from_verifier("code")(texts, **columns)[:2] == [None, 1.0]


def test_the_code_reward_runs_a_groups_completions_side_by_side():
    slow = "```python\nimport time\ndef double(x):\n    time.sleep(0.5)\n    return 2 * x\n```"
    wrong = slow.replace("2 * x", "x")
    group = [slow, wrong] * 4
    reward = from_verifier("code")
    columns = {"answer": [["assert double(2) == 4"]] * len(group)}
    reward(group[:2], answer=columns["answer"][:2])  # the workers are started
    started = time.monotonic()
    assert reward(group, **columns) == [1.0, 0.0] * 4
    one_by_one = 0.5 * len(group)
    assert time.monotonic() - started < one_by_one or verifiers.code.sandbox().workers == 1


def test_verdicts_come_back_in_order_and_one_each_however_long_each_takes():
    @concurrent
    def verify(completion: str, reference: str, **columns: object) -> Verdict:
        time.sleep(float(completion))
        return Verdict(True, 1.0, "ok", completion)

    texts = ["0.2", "0", "0.1", "0"] * 4
    verdicts = grade_all(verify, texts, [{"answer": "x"}] * len(texts))
    assert [verdict.detail for verdict in verdicts] == texts
    with pytest.raises(ValueError, match="16 completions, but 1 rows"):
        grade_all(verify, texts, [{"answer": "x"}])
