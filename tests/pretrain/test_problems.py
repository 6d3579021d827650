"""Problems: right worked solutions, wrong blunders, sets that share no question."""

import json
import random

import pytest
import reasoning_gym

from align.pretrain.problems import KINDS, answer_of, make_problems, worked_answer, wrong_answer


def items(name, number):
    return list(reasoning_gym.create_dataset(name, size=number, seed=5, **KINDS[name].config))


@pytest.mark.parametrize("name", KINDS)
def test_worked_solutions_score_one_and_wrong_answers_less(name):
    score = reasoning_gym.get_score_answer_fn(name)
    rng = random.Random(0)
    for item in items(name, 300):
        assert score(answer_of(worked_answer(name, item)), item) == 1.0
        assert score(answer_of(wrong_answer(name, item, rng)), item) < 1.0


def test_the_steps_of_a_sum_are_true_equations():
    for item in items("chain_sum", 100):
        steps = worked_answer("chain_sum", item).splitlines()[:-1]
        assert len(steps) == item["metadata"]["num_terms"] - 1
        for step in steps:
            left, right = step.split(" = ")
            first, operator, second = left.split()
            assert int(right) == int(first) + int(operator + second)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("1 + 1 = 2\n#### 2", "2"),
        ("#### ['3', '7']\n", "['3', '7']"),
        ("#### 2\nor so", None),
        ("2", None),
        ("", None),
    ],
)
def test_the_answer_is_what_the_last_line_marks(text, answer):
    assert answer_of(text) == answer


@pytest.fixture(scope="module")
def problems():
    return make_problems(list(KINDS), num_documents=3000, num_prompts=300, num_heldout=200, seed=3)


def test_no_question_is_in_two_sets_or_twice_among_the_prompts(problems):
    documents = {row["messages"][0]["content"] for row in problems.documents}
    prompts = [row["prompt"][0]["content"] for row in problems.prompts]
    heldout = [row["prompt"][0]["content"] for row in problems.heldout]
    assert len(set(prompts)) == len(prompts)
    assert len(set(heldout)) == len(heldout)
    assert not documents & set(prompts)
    assert not documents & set(heldout)
    assert not set(prompts) & set(heldout)


def test_sets_have_the_size_asked_for_or_the_shortage_is_counted(problems):
    assert len(problems.documents) == 3000
    for split, asked in (("prompts", 300), ("heldout", 200)):
        short = sum(
            number
            for reason, number in problems.counts.items()
            if reason.endswith(f"too few questions for {split}")
        )
        assert len(getattr(problems, split)) == asked - short


def test_documents_are_worked_and_wrong_in_the_shares_asked_for():
    rows = make_problems(
        ["chain_sum"],
        num_documents=4000,
        num_prompts=10,
        num_heldout=10,
        worked_share=0.4,
        wrong_share=0.5,
    ).documents
    worked = [row for row in rows if row["source"].endswith("worked")]
    wrong = [row for row in rows if row["source"].endswith("wrong")]
    assert len(worked) / len(rows) == pytest.approx(0.4, abs=0.03)
    assert len(wrong) / (len(rows) - len(worked)) == pytest.approx(0.5, abs=0.04)


def test_the_same_seed_gives_the_same_problems_and_another_does_not(problems):
    arguments = {"num_documents": 3000, "num_prompts": 300, "num_heldout": 200}
    assert make_problems(list(KINDS), **arguments, seed=3) == problems
    assert make_problems(list(KINDS), **arguments, seed=4).heldout != problems.heldout


def test_a_prompts_entry_scores_its_solution(problems):
    for row in problems.heldout[:50]:
        score = reasoning_gym.get_score_answer_fn(row["task"])
        assert score(answer_of(row["solution"]), json.loads(row["entry"])) == 1.0


@pytest.mark.parametrize(
    ("kinds", "share", "message"),
    [
        (["chain_sums"], 0.4, "unknown kind"),
        ([], 0.4, "one or more"),
        (["chain_sum"], 1.4, "worked_share"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kinds, share, message):
    with pytest.raises(ValueError, match=message):
        make_problems(kinds, num_documents=1, num_prompts=1, num_heldout=1, worked_share=share)
