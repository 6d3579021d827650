import time

import pytest

import verifiers
from verifiers import math
from verifiers.extract import final_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3*4=12\n#### 12", "12"),
        ("so \\boxed{\\frac{1}{2}} is it", "\\frac{1}{2}"),
        ("\\boxed{1} or rather \\boxed{\\boxed{2}}", "2"),
        ("The answer is 3.5. Well done.", "3.5"),
        ("**Final Answer:** $12$", "12"),
        ("#### 1\nNo: the answer is 2", "2"),
        ("#### \\boxed{5}", "5"),
        ("#### Step 1\nwork\n#### Answer: 7", "7"),
        ("Answer:\n12", "12"),
        (" 42. ", "42"),
        ("#### ['12', '34']", "['12', '34']"),
    ],
)
def test_final_answer_is_the_last_marked_one(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    "text", ["", " \n", "3 + 4 = 7\nthen 7 * 2 = 14", "\\boxed{5", "####", "x" * 300, "\\boxed{}"]
)
def test_text_without_a_committed_answer_has_none(text: str) -> None:
    assert final_answer(text) is None


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("72", "Natalia sold 48/2 = 24 clips.\n48+24 = 72\n#### 72"),
        ("1,234,567", "1234567"),
        ("$1,000", "1000"),
        ("\\$5.50", "5.5"),
        ("-$3", "-3"),
        ("$-3", "-3"),
        ("50%", "50"),
        ("50 percent", "50\\%"),
        ("1/2", "0.5"),
        ("\\frac{3}{4}", ".75"),
        ("72 apples", "72"),
        ("5 square feet", "5"),
        ("60 km/h", "60"),
        ("3 miles", "3.0 mile"),
        ("10\\,000", "10000"),
        ("5 \\text{ cm}", "5"),
        ("\N{MINUS SIGN}4", "-4"),
        ("+7", "7"),
        ("7.", "7"),
        ("YES", "yes"),
        ("( 1 , 2 )", "(1,2)"),
        ("5x", "5x"),
        ("0.1", "1/10"),
    ],
)
def test_equal_answers_are_right(answer: str, reference: str) -> None:
    assert math.verify(f"thus\n#### {answer}", reference).correct is True


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("71", "72"),
        ("5x", "5"),
        ("5 pi", "5"),
        ("5 or six", "5"),
        ("5 or 6", "5"),
        ("5 million", "5"),
        ("5 km", "5 miles"),
        ("50%", "0.5"),
        ("1,5", "15"),
        ("0.333", "1/3"),
        ("1/0", "1"),
        ("Step 5", "5"),
        ("--5", "5"),
        ("1e2", "1"),
        ("12 34", "12"),
        ("x\u00b2", "x2"),
        ("9" * 5000, "#### " + "9" * 4999),
        ("100000000000000000001", "100000000000000000000"),
        ("5\x00", "5"),
    ],
)
def test_unequal_answers_are_wrong(answer: str, reference: str) -> None:
    assert math.verify(f"thus\n#### {answer}", reference).correct is False


@pytest.mark.parametrize("reference", ["", "no mark\nhere 72", None, float("nan"), True, ["72"]])
def test_unreadable_reference_is_undecided_and_never_wrong(reference: object) -> None:
    verdict = math.verify("#### 72", reference)
    assert (verdict.correct, verdict.reason) == (None, "unparsable_reference")


def test_a_numeric_reference_column_is_read() -> None:
    assert math.verify("#### 72", 72).correct and math.verify("#### 72.0", 72.0).correct


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "\x00" * 1000,
        "What is 48 plus 24? State the final answer: ",
        "72 " * 700_000,
        "7" * 2_000_000,
        "\\boxed{" * 300_000,
        "\\boxed{" * 1000 + "}" * 1000,
        "#" * 2_000_000,
        "answer " * 300_000,
        "answer is " * 200_000,
        " " * 2_000_000,
        "#### " + "{" * 1_000_000,
        "1," * 1_000_000,
        "first 72, then 73, lastly 72",
    ],
    ids=lambda text: f"{text[:8]!r}*{len(text)}",
)
def test_hostile_text_is_not_right_and_costs_little(hostile: str) -> None:
    started = time.perf_counter()
    assert math.verify(hostile, "72").correct is False
    assert time.perf_counter() - started < 1.0


def test_batch_is_in_order_and_refuses_unequal_lengths() -> None:
    verdicts = math.verify_batch(["#### 1", "#### 2", ""], ["1", "1", "1"])
    assert [v.correct for v in verdicts] == [True, False, False]
    with pytest.raises(ValueError, match="2 completions, but 1 reference"):
        math.verify_batch(["1", "2"], ["1"])


def test_unknown_verifier_is_named_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match="unknown verifier 'maths'; did you mean 'math'"):
        verifiers.get("maths")
    assert verifiers.get("math") is math.verify
