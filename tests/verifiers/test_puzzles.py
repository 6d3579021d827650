import json

import pytest
import reasoning_gym

import verifiers
from verifiers import puzzles

# What the quickstart draws, and three whose scorers are more than string comparison.
TASKS = ["chain_sum", "products", "leg_counting", "count_primes", "number_filtering", "gcd"]
HARDER = ["countdown", "mini_sudoku", "family_relationships"]


def items(task: str) -> list[dict]:
    return list(reasoning_gym.create_dataset(task, seed=5, size=10))


@pytest.mark.parametrize("task", [*TASKS, *HARDER])
def test_the_right_answer_has_full_marks_and_junk_does_not(task: str) -> None:
    verify = verifiers.get("reasoning_gym")
    for item in items(task):
        entry = json.dumps(item)
        right = verify(f"\\boxed{{{item['answer']}}}", "", task=task, entry=entry)
        assert (right.correct, right.score) == (True, 1.0)
        for junk in ("", "\x00", "#### xyzzy", item["question"], "#### -98765"):
            assert verify(junk, "", task=task, entry=entry).correct is False


def test_marked_answer_lines_are_enough_for_one_line_answers() -> None:
    for task in TASKS:
        for item in items(task):
            completion = f"some steps 1+1=2\n#### {item['answer']}"
            assert puzzles.verify(completion, "", task=task, entry=item).correct


def test_partial_credit_is_passed_on_but_is_not_right() -> None:
    item = items("chain_sum")[0]
    verdict = puzzles.verify(f"#### {item['answer']} or so", "", task="chain_sum", entry=item)
    assert verdict.correct is False and 0 < verdict.score < 1


@pytest.mark.parametrize("task", sorted(puzzles.EXCLUDED))
def test_misleading_scorers_are_refused_with_the_reason(task: str) -> None:
    with pytest.raises(ValueError, match=task):
        puzzles.verify("#### 1", "", task=task, entry="{}")


def test_the_exclusion_of_game_of_life_halting_is_deserved() -> None:
    item = next(i for i in items("game_of_life_halting") if i["answer"] != "False")
    scorer = reasoning_gym.get_score_answer_fn("game_of_life_halting")
    assert scorer("utter junk", item) == 1.0


def test_a_scorer_that_raises_is_undecided() -> None:
    item = items("prime_factorization")[0]
    verdict = puzzles.verify("#### junk", "", task="prime_factorization", entry=item)
    assert (verdict.correct, verdict.reason) == (None, "scorer_error")


def test_bad_columns() -> None:
    verdict = puzzles.verify("#### 1", "", task="gcd", entry="{not json")
    assert (verdict.correct, verdict.reason) == (None, "unparsable_reference")
    with pytest.raises(ValueError, match="needs the column 'entry'"):
        puzzles.verify("#### 1", "", task="gcd")
    with pytest.raises(ValueError, match="no data set 'chain_sums'; did you mean 'chain_sum'"):
        puzzles.verify("#### 1", "", task="chain_sums", entry="{}")
