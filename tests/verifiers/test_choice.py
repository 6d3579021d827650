import time

import pytest

from verifiers import choice

CITIES = ["Rome", "Paris", "Oslo", "Paris and Rome"]
PROMPT = "Which is the capital of France?\nA. Rome\nB. Paris\nC. Oslo\nD. Paris and Rome\n"
# Forms of published completions to MMLU, ARC, AMC and multi-select items.
FORMS = [
    "B",
    "b",
    "(B)",
    "B.",
    "B)",
    "**B**",
    "**(B)**",
    "B. Paris",
    "(B) Paris",
    "B Paris",
    "B - Paris",
    "B (Paris)",
    "Paris",
    "paris.",
    "Option B",
    "The answer is B.",
    "The answer is (B) Paris",
    "the answer is **B**: Paris, of course",
    "Thinking of A, then C.\nThe correct option is B",
    "Answer: B",
    "#### B",
    "\\boxed{B}",
    "\\boxed{\\text{B}}",
    "$\\boxed{\\textbf{(B)}\\ \\text{Paris}}$",
    "\\boxed{\\text{Paris}}",
    "The answer is B, because the Louvre is there.",
    "The answer is B. It is not Rome.",
    "B is correct.",
    "It is not A.\n\n(B)",
    "The answer is A. No, wait: the answer is B.",
    "<think>Is it (A)?</think>\nThe answer is B",
    "<think>Is it (A)?</think>\n<answer>B</answer>",
    "Let us see.\nIt is not A.\n<answer>B. Paris</answer>",
    "The answer is 'B'.",
    'Answer: "Paris"',
    "Answer: <B>",
    "The answer is Paris (B).",
    "The answer is **Paris (option B)**.",
    "The correct answer choice is (B).",
    "The answer is therefore B.",
    "Answer: \uff22",
]


@pytest.mark.parametrize("completion", FORMS)
def test_every_usual_form_of_the_right_option_is_right(completion: str) -> None:
    for reference in ("B", "(B)", 1, "Paris", ["B"]):
        assert choice.verify(completion, reference, choices=CITIES).correct is True, reference


@pytest.mark.parametrize("completion", FORMS)
def test_no_form_of_one_option_is_taken_for_another(completion: str) -> None:
    for reference in ("A", "C", 3, "Oslo", ["A", "B"], ["B", "C"]):
        assert choice.verify(completion, reference, choices=CITIES).correct is False, reference


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("", "no_answer"),
        ("\x00", "unreadable_answer"),
        ("(A)\x00", "unreadable_answer"),
        ("A\x00", "unreadable_answer"),
        ("A dog ran over the bridge.", "unreadable_answer"),
        ("A dog ran.\nI saw it", "no_answer"),
        ("The answer is a dog", "unreadable_answer"),
        ("A-frame", "unreadable_answer"),
        ("E.g. this", "unreadable_answer"),
        ("A or B", "unreadable_answer"),
        ("The answer is A, or perhaps B", "unreadable_answer"),
        ("Answer: A/B", "unreadable_answer"),
        ("Answer: A, B, C or D", "unreadable_answer"),
        ("A, because B is wrong", "unreadable_answer"),
        ("The answer is not A", "unreadable_answer"),
        ("(A) is wrong", "unreadable_answer"),
        ("(B) cannot be", "unreadable_answer"),
        ("A, alternatively Paris", "unreadable_answer"),
        ("(B) Paris or Rome", "unreadable_answer"),
        ("(b) (a)", "unreadable_answer"),
        ("B: c", "unreadable_answer"),
        ("Paris (A)", "unreadable_answer"),
        ("A. Paris", "contradictory_answer"),
        ("The answer is (A) Paris and Rome", "contradictory_answer"),
        ("<think>So it is\n(A)", "no_answer"),
        (PROMPT, "no_answer"),
        (PROMPT.replace("\n", " "), "unreadable_answer"),
    ],
)
def test_text_that_settles_on_nothing_is_wrong(completion: str, reason: str) -> None:
    for reference in ("A", "B", "C", "D", ["A", "B"]):
        verdict = choice.verify(completion, reference, choices=CITIES)
        assert (verdict.correct, verdict.score, verdict.reason) == (False, 0.0, reason)


@pytest.mark.parametrize(
    "completion",
    ["A, C", "C and A", "c, a", "(A), (C)", "AC", "A; C", "A & C", "Options A and C",
     "Rome and Oslo", "A) Rome, C) Oslo", "\\boxed{A, C}", "\\boxed{A} and \\boxed{C}", "A, and C"],
)  # fmt: skip
def test_several_options_are_compared_as_sets(completion: str) -> None:
    for reference in ("A, C", "C and A", ["C", "A"], [0, 2], ["Rome", "C"], "AC"):
        assert choice.verify(f"The answer is {completion}", reference, choices=CITIES).correct
    for reference in ("A", "C", ["A", "B"], ["A", "B", "C"]):
        assert not choice.verify(f"The answer is {completion}", reference, choices=CITIES).correct


def test_an_option_may_name_other_options() -> None:
    both = ["Rome", "Paris", "Oslo", "A and B"]
    for answer in ("D", "A and B", "D. A and B"):
        verdicts = [
            choice.verify(f"#### {answer}", letter, choices=both).correct for letter in "ABD"
        ]
        assert verdicts == [False, False, True]


def test_without_choices_the_letters_are_a_to_j() -> None:
    assert choice.verify("The answer is (J) since it fits", "J").correct
    assert choice.verify("The answer is K", "J").correct is False
    assert choice.verify("J", "K").reason == "unparsable_reference"


def test_choices_come_in_every_usual_shape() -> None:
    arc = {"text": ["ice", "steam"], "label": ["1", "2"]}
    for choices in (arc, '{"1": "ice", "2": "steam"}', {"(1)": "ice", "(2)": "steam", "(3)": None}):
        for reference in ("2", 1, "steam"):
            assert choice.verify("So:\n(2) steam", reference, choices=choices).correct is False
            assert choice.verify("#### (2) steam", reference, choices=choices).correct
            assert choice.verify("#### 1", reference, choices=choices).correct is False


def test_a_text_that_is_a_letter_is_read_as_the_letter() -> None:
    assert choice.verify("Answer: B", "A", choices=["B", "A"]).correct is False
    assert choice.verify("Answer: B. A", "B", choices=["B", "A"]).correct


@pytest.mark.parametrize(
    ("reference", "choices"),
    [("", None), ("no such", CITIES), (4, CITIES), (-1, CITIES), (True, CITIES), (None, CITIES),
     ([], CITIES), (["A", "x"], CITIES), ("B", []), ("B", "not json"), ("B", "[" * 100_000),
     ("B", 3), ("A. Paris", CITIES), (1.0, CITIES), ("B" * 50_000, CITIES)],
)  # fmt: skip
def test_an_unreadable_reference_is_undecided(reference: object, choices: object) -> None:
    verdict = choice.verify("B", reference, choices=choices)
    assert (verdict.correct, verdict.reason) == (None, "unparsable_reference")


@pytest.mark.parametrize(
    "hostile",
    ["\x00" * 1000, "\ud800", "A B C D " * 250_000, "A" * 2_000_000, "A, " * 700_000,
     "(" * 10**8, "#### " + "A, " * 6000, "#### " + " " * 19_000 + "x",
     "answer is A " * 200_000, "\\boxed{" * 300_000, "\\text{" * 4000, "#### A" + " and" * 4000,
     "Answer: A" + "\ufdfa" * 19_000, "#### x" + " " * 19_000 + "(",
     "#### A Rome " + "and " * 4500],
    ids=lambda text: f"{text[:8]!r}*{len(text)}",
)  # fmt: skip
def test_hostile_text_is_not_right_and_costs_little(hostile: str) -> None:
    started = time.perf_counter()
    assert choice.verify(hostile, "B", choices=CITIES).correct is False
    assert time.perf_counter() - started < 1.0
