import time

import pytest

from verifiers.extract import TAIL_CHARS, final_answer, final_answers


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3*4=12\n#### 12", "12"),
        ("so \\boxed{\\frac{1}{2}} is it", "\\frac{1}{2}"),
        ("\\boxed{1} or rather \\boxed{\\boxed{2}}", "2"),
        ("\\fbox{3}", "3"),
        ("so it is $\\boxed 5$", "5"),
        ("escaped once too often: \\\\boxed{7}", "7"),
        ("The answer is 3.5. Well done.", "3.5"),
        ("The answer is 5, because 2 + 3 = 5.", "5"),
        ("The answer to the question is (C).", "(C)"),
        ("The correct option is B.", "B"),
        ("**Final Answer:** $12$", "12"),
        ("**Answer:** x", "x"),
        ("Answer: (B)", "(B)"),
        ("Answer:\n\\[\n\\frac{1}{2}\n\\]\nas was shown.", "\\frac{1}{2}"),
        ("**Final Answer**\n\n12", "12"),
        ("Final Answer: The final answer is $28 \\%$. I hope it is correct.", "28 \\%"),
        ("Final answer: The number of apples is 34.", "34"),
        ("#### 1\nNo: the answer is 2", "2"),
        ("#### \\boxed{5}", "5"),
        ("#### Step 1\nwork\n#### Answer: 7", "7"),
        ("Answer:\n12", "12"),
        ("the answer is \\boxed{5}.\n\n**Answer:**", "5"),
        (" 42. ", "42"),
        ("#### ['12', '34']", "['12', '34']"),
        ("<think>\\boxed{3}? No.</think>\n\\boxed{4}", "4"),
        ("the prompt opened the thought: \\boxed{3}</think>4", "4"),
        ("work\nand more\n<answer>5</answer>", "5"),
        ("<think>6</think>\n\n<answer>\n5\n</answer>\n", "5"),
        ("<answer>3</answer> No:\n<answer>The answer is \\boxed{5}.</answer> I hope", "5"),
        ("<answer>\n- Ann\n- Bo\n</answer>", "- Ann\n- Bo"),
        ("In <answer> </answer> tags:\n#### 5", "5"),
        ("The answer is therefore $5$.", "5"),
        ("The answer should be 5.", "5"),
        ("Answer: Just Dance", "Just Dance"),
        ("The answer is Then Came You.", "Then Came You"),
        ("The answer is 5 (since 2 + 3 = 5).", "5"),
        ("The correct answer choice is B.", "B"),
        ("Answer\uff1a5", "5"),
        ("Answer:\n1. Ann\n2. Bo\n\nas was shown", "1. Ann\n2. Bo"),
        ("Answer: 1. That is all.", "1"),
    ],
)
def test_final_answer_is_the_last_marked_one(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "3 + 4 = 7\nthen 7 * 2 = 14",
        "\\boxed{5",
        "\\boxed{\\frac{1}{2}",
        "####",
        "x" * 300,
        "\\boxed{}",
        "<think>\\boxed{3}, the answer is 3",
        "<think>a</think><think>\\boxed{3}",
        "\\boxed{3}</think>",
        "\\boxed{3}" + " " * TAIL_CHARS,
        "a\nb\n<answer></answer>",
        "a\nb\n<answer>5",
        "a\nb\n</answer>5<answer>",
        "<think>a\n<answer>5</answer>",
    ],
)
def test_text_without_a_committed_answer_has_none(text: str) -> None:
    assert final_answer(text) is None


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("$x = \\boxed{1}$ and $x = \\boxed{-2}$.", ["1", "-2"]),
        ("\\boxed{(2, 2)} \\quad \\text{and} \\quad \\boxed{(6, 2)}", ["(2, 2)", "(6, 2)"]),
        ("\\boxed{1} papers and \\boxed{2} bins", ["1", "2"]),
        ("\\boxed{1}\\boxed{2}", ["1", "2"]),
        ("\\boxed{5}, or \\boxed{5}", ["5"]),
        ("First we get \\boxed{1}. After some more work, \\boxed{2}.", ["2"]),
        ("\\boxed{1} and \\boxed{2}\n#### 3", ["3"]),
        ("nothing", ["nothing"]),
    ],
)
def test_boxes_side_by_side_are_one_answer_of_several_members(
    text: str, answers: list[str]
) -> None:
    assert final_answers(text) == answers


@pytest.mark.parametrize(
    "hostile",
    [
        "answer to " * 10_000_000,
        "answer is " * 2_000,
        "\\boxed{1}, " * 2_000,
        "\\boxed{" * 300_000,
        "\n####" * 5_000,
        "The answer is a" + " is" * 7_000,
        "<think>" * 10_000_000,
        "<answer>" * 10_000_000,
        "</answer>" * 10_000_000,
        "answer is therefore " * 1_000,
        "Answer:\n" + "- a\n" * 4_900,
    ],
    ids=lambda text: f"{text[:8]!r}*{len(text)}",
)
def test_hostile_text_is_read_in_a_fraction_of_a_second(hostile: str) -> None:
    started = time.perf_counter()
    final_answer(hostile)
    assert time.perf_counter() - started < 1.0
