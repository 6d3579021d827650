import json
import time

import pytest
import reasoning_gym
from reasoning_gym.factory import DATASETS

import verifiers
from verifiers import puzzles

USED = sorted(set(DATASETS) - set(puzzles.EXCLUDED))
JUNK = [
    "",
    "\x00",
    "xyzzy",
    "0",
    "1",
    "-98765",
    "nan",
    "[NaN, NaN, NaN]",
    "[]",
    "{}",
    "None",
    "\ud800",
]


def items(task: str, size: int = 2, seed: int = 5) -> list[dict]:
    drawn = list(reasoning_gym.create_dataset(task, seed=seed, size=size))
    return [item for item in drawn if item["answer"] != ""]


def judged(answer: str, task: str, item: dict) -> verifiers.Verdict:
    entry = json.dumps(item, default=str)  # some metadata hold fractions
    return puzzles.verify(f"so\n\\boxed{{{answer}}}", "", task=task, entry=entry)


def check_gold_and_junk(task: str, size: int) -> None:
    for item in items(task, size):
        gold = item["answer"]
        right = judged(gold, task, item)
        assert (right.correct, right.score) == (True, 1.0), right
        for junk in [*JUNK, item["question"], gold + " " + "xyzzy " * 1000]:
            verdict = judged(junk, task, item)
            is_right_by_chance = junk in (gold, f"{gold}.0") or f"{junk}.0" == gold
            # Some scorers look for the answer in the text; then the text does hold it.
            assert verdict.correct is False or is_right_by_chance or gold in junk, (junk, verdict)


@pytest.mark.parametrize("task", USED)
def test_a_stored_items_answer_has_full_marks_and_junk_has_not(task: str) -> None:
    check_gold_and_junk(task, size=2)


@pytest.mark.slow
@pytest.mark.parametrize("task", USED)
def test_twenty_stored_items_answers_have_full_marks_and_junk_has_not(task: str) -> None:
    check_gold_and_junk(task, size=20)


def test_marked_answer_lines_are_enough_for_one_line_answers() -> None:
    for task in ("chain_sum", "products", "leg_counting", "sentence_reordering"):
        for item in items(task, 10):
            completion = f"some steps 1+1=2\n#### {item['answer']}"
            assert verifiers.get("reasoning_gym")(completion, "", task=task, entry=item).correct


def test_partial_credit_is_passed_on_but_is_not_right() -> None:
    item = items("chain_sum")[0]
    verdict = judged(f"{item['answer']} or so", "chain_sum", item)
    assert verdict.correct is False and 0 < verdict.score < 1


def test_an_answer_with_a_full_stop_or_an_underscore_at_its_end_is_read_whole() -> None:
    board = items("n_queens")[0]
    assert all(judged(b, "n_queens", board).correct for b in board["metadata"]["valid_answers"])


@pytest.mark.parametrize("task", sorted(puzzles.EXCLUDED))
def test_misleading_scorers_are_refused_with_the_reason(task: str) -> None:
    with pytest.raises(verifiers.VerifierError, match=task):
        puzzles.verify("#### 1", "", task=task, entry="{}")


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        ("game_of_life_halting", "utter junk"),
        ("coin_flip", "0"),
        ("puzzle24", "6*4*1*1"),
        ("decimal_arithmetic", None),
        ("number_sorting", None),
    ],
)
def test_these_exclusions_are_deserved(task: str, wrong: str | None) -> None:
    scorer = reasoning_gym.get_score_answer_fn(task)
    item = next(i for i in items(task, 10) if i["answer"] not in ("False", "0"))
    if task == "decimal_arithmetic":
        wrong = str(float(item["answer"]) + 0.0009)
    if task == "number_sorting":
        wrong = str(
            [float(number) + 0.9 for number in json.loads(item["answer"].replace("'", '"'))]
        )
    assert scorer(wrong, item) == 1.0


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        ("countdown", "__import__('pathlib').Path('{mark}').touch()"),
        ("polynomial_multiplication", "__import__('pathlib').Path('{mark}').touch()"),
        ("simple_integration", "__import__('pathlib').Path('{mark}').touch()"),
        ("binary_matrix", "[[__import__('pathlib').Path('{mark}').touch()]]"),
        ("n_queens", "[[__import__('pathlib').Path('{mark}').touch()]]"),
        ("spiral_matrix", "[__import__('pathlib').Path('{mark}').touch()]"),
        ("string_insertion", "[__import__('pathlib').Path('{mark}').touch()]"),
    ],
)
def test_an_answer_is_never_executed(task: str, answer: str, tmp_path) -> None:
    item = items(task)[0]
    control, mark = tmp_path / "control", tmp_path / "mark"
    reasoning_gym.get_score_answer_fn(task)(answer.format(mark=control), item)
    assert control.exists()  # the scorer itself does run it
    assert judged(answer.format(mark=mark), task, item).reason == "malformed_answer"
    assert not mark.exists()


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        ("countdown", "9**9**9**9"),
        ("countdown", "(" * 90 + "1" + ")" * 90),
        ("polynomial_multiplication", "9**9**9**9"),
        ("polynomial_multiplication", "x**99*" * 80 + "x"),
        ("simple_integration", "x**99/7*" * 60 + "x"),
        ("simple_integration", "x**2 + 3*x " * 1000),
        ("spiral_matrix", "-" * 9000 + "1"),
        ("binary_matrix", "[" * 9000),
        ("power_function", "1e999999999"),
        ("prime_factorization", "9" * 9000),
        ("sokoban", "UDLR" * 2400),
        ("group_anagrams", "[" + "[1]," * 2000 + "[1]]"),
        ("jugs", "[" * 5000),
        ("chain_sum", "9" * 2_000_000),
    ],
    ids=lambda text: text[:24],
)
def test_a_hostile_answer_costs_little_and_is_not_right(task: str, answer: str) -> None:
    item = items(task)[0]
    judged("1", task, item)  # imports
    started = time.perf_counter()
    assert judged(answer, task, item).correct is False
    assert time.perf_counter() - started < 1.0


def test_other_right_answers_are_right_and_misread_ones_are_not() -> None:
    item = items("complex_arithmetic")[0]
    assert judged("nan", "complex_arithmetic", item).reason == "malformed_answer"
    item = items("gsm_symbolic")[0]
    assert judged(f"{item['answer']} dollars", "gsm_symbolic", item).correct
    assert judged(f"-{item['answer']}", "gsm_symbolic", item).correct is False
    item = items("simple_integration")[0]
    other_constant = item["answer"].replace("C", "17")
    assert judged(other_constant, "simple_integration", item).correct


def test_an_answer_too_long_to_read_is_wrong() -> None:
    item = items("chain_sum")[0]
    assert judged("1" * (puzzles.ANSWER_CHARS + 1), "chain_sum", item).reason == "too_long"


def test_the_callers_item_is_left_as_it_is() -> None:
    item = next(i for i in items("knight_swap", 6) if i["answer"] != "No")
    item = json.loads(json.dumps(item))
    before = json.dumps(item)
    assert puzzles.verify(
        f"\\boxed{{{item['answer']}}}", "", task="knight_swap", entry=item
    ).correct
    assert json.dumps(item) == before


def test_a_scorer_that_raises_or_leaves_the_scale_is_undecided(monkeypatch) -> None:
    item = items("gcd")[0]

    def broken(answer: str, entry: dict) -> float:
        raise KeyError("metadata")

    for scorer in (broken, lambda answer, entry: 1.5, lambda answer, entry: float("nan")):
        monkeypatch.setattr(puzzles, "_scorer", lambda task, scorer=scorer: scorer)
        verdict = judged("1", "gcd", item)
        assert (verdict.correct, verdict.score, verdict.reason) == (None, 0.0, "scorer_error")


def test_bad_columns() -> None:
    for entry in (
        "{not json",
        "[1]",
        "{}",
        '{"answer": null}',
        '{"answer": ""}',
        "[" * 100_000,
        "1" * 5000,
    ):
        verdict = puzzles.verify("#### 1", "", task="gcd", entry=entry)
        assert (verdict.correct, verdict.reason) == (None, "unparsable_reference")
    with pytest.raises(ValueError, match="needs the column 'entry'"):
        puzzles.verify("#### 1", "", task="gcd")
    with pytest.raises(ValueError, match="no data set 'chain_sums'; did you mean 'chain_sum'"):
        puzzles.verify("#### 1", "", task="chain_sums", entry="{}")
