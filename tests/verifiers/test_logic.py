import time

import pytest

from verifiers import logic


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("True", True),
        ("**Yes.**", True),
        ("T", True),
        ("Yes, since all birds fly", True),
        ("True because it says so", True),
        ("The statement is true", True),
        ("False", False),
        ("no", False),
        ("No - the premises say nothing else", False),
        ("Not true", False),
        ("False, as the second premise is not true", False),
        ("Unknown", "Uncertain"),
        ("Cannot be determined", "unknown"),
        ("It can\u2019t be determined from the premises", "no"),
        ("can't be determined.", "Unknown"),
        ("Uncertain (not enough information)", "Undetermined"),
        ("$\\text{True}$", True),
        ("\\textbf{False}", False),
        ("It cannot be determined.", "Unknown"),
        ("Therefore, the conclusion is **False**.", False),
        ("The truth value of the conclusion is uncertain", "Unknown"),
    ],
)
def test_truth_values_are_read_in_three_ways(answer: str, value: object) -> None:
    completion = f"Let us see. Nothing is true.\nAnswer: {answer}"
    verdicts = [logic.verify(completion, ref).correct for ref in ("yes", "False", "Uncertain")]
    if answer.endswith("from the premises"):  # words that run on are not set off
        assert verdicts == [False] * 3
        return
    wanted = {True: 0, False: 1}.get(value, 2)
    assert verdicts == [place == wanted for place in range(3)]
    assert logic.verify(completion, value).correct


@pytest.mark.parametrize(
    "completion",
    ["", "\x00", "xyzzy", "No one knows", "Yes and no", "True or False", "True/False", "Yes, or no",
     "True, and also false", "T-shirt", "f(x) = 2", "Is it true?\nTrue or False?", "it may be true",
     "The premises are true.\nThe conclusion is unclear", "<think>\nTrue"],
)  # fmt: skip
def test_text_without_a_truth_value_is_none_of_them(completion: str) -> None:
    for reference in (True, False, "unknown"):
        verdict = logic.verify(completion, reference)
        assert (verdict.correct, verdict.score) == (False, 0.0)


def test_a_last_line_with_nothing_but_a_truth_value_is_an_answer() -> None:
    assert logic.verify("All men die.\nSocrates is a man.\n\n**True**", True).correct
    assert logic.verify("All men die.\n\nSocrates", "Socrates").reason == "no_answer"
    for line in (
        "Therefore, the statement is **True**.",
        "Based on the premises, the claim is true",
    ):
        assert logic.verify(f"All men die.\nSocrates is a man.\n\n{line}", True).correct
        assert logic.verify(f"All men die.\n\n{line}", False).correct is False
    for line in ("The statement is true or false", "The statement is not known", "It is true"):
        assert logic.verify(f"All men die.\n\n{line}", True).reason == "no_answer"


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("the red  House.", "Red house"),
        ("\u201cBob\u201d", "bob"),
        ("well-known", "Well known"),
        ("\uff22\uff4f\uff42", "Bob"),
        ("U.S.", "US"),
        ("Alice: red, Bob: blue", "bob: Blue; alice: Red"),
        ("Alice = red and Bob = blue", {"Alice": "red", "Bob": "blue"}),
        ("Alice is a knight, and Bob is a knave", {"Bob": "knave", "Alice": "knight"}),
        ('{"Bob": "blue", "Alice": "red"}', '{"Alice": "red", "Bob": "blue"}'),
        ("Ann: 3, Bo: 4", {"Ann": 3, "Bo": 4}),
        ("Ann > Bo > Cy", ["Ann", "Bo", "Cy"]),
        ("Ann, Bo, and Cy", ["Ann", "Bo", "Cy"]),
        ("Ann \u2192 Bo \u2192 Cy", '["Ann", "Bo", "Cy"]'),
        ('["ann", "bo", "cy"]', ["Ann", "Bo", "Cy"]),
        ("A, B", ["A", "B"]),
        ("[A, B]", ["A", "B"]),
        ("('A', 'B')", ["A", "B"]),
        ("\\text{Bob}", "Bob"),
        ("Bob", "\\text{Bob}"),
        ("p \u2227 \u00acq", "P \u2227 \u00acQ"),
        ("-5", "-5"),
        ("3", 3),
        ("1" + "0" * 400, 10**400),
    ],
)
def test_answers_that_say_the_same_are_equal(answer: str, reference: object) -> None:
    assert logic.verify(f"So \\boxed{{{answer}}}", reference).correct is True
    assert logic.verify(f"Thus\n#### {answer}", reference).correct is True


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("Bob", "Alice"),
        ("Bob or Alice", "Alice"),
        ("5", "-5"),
        ("35", "3.5"),
        ("p \u2228 q", "p \u2227 q"),
        ("!p", "p"),
        ("p > q", "p < q"),
        ("p -> (q & r)", "(p -> q) & r"),
        ("B, C", ["A", "B", "C"]),
        ("B, C", "A, B, C"),
        ("A", "the A B"),
        ("Alice: red", {"Alice": "red", "Bob": "blue"}),
        ("Alice: blue, Bob: red", {"Alice": "red", "Bob": "blue"}),
        ("Alice: red, Bob: blue, Cy: red", {"Alice": "red", "Bob": "blue"}),
        ("Alice: red, Alice: blue, Bob: blue", {"Alice": "red", "Bob": "blue"}),
        ('{"Alice": "blue", "Alice": "red"}', {"Alice": "red"}),
        ("Alice is not a knight", {"Alice": "knight"}),
        ("Bo > Ann", ["Ann", "Bo"]),
        ("Ann < Bo", ["Ann", "Bo"]),
        ("Ann, Bo, Cy", ["Ann", "Bo"]),
        ("Ann > Bo", "Ann, Bo"),
    ],
)
def test_answers_that_say_something_else_are_not(answer: str, reference: object) -> None:
    assert logic.verify(f"So \\boxed{{{answer}}}", reference).correct is False


def test_lists_in_a_box_may_have_lines_and_numbers() -> None:
    assert logic.verify("\\boxed{1. Ann\n2. Bo\n3. Cy}", ["Ann", "Bo", "Cy"]).correct
    assert logic.verify("\\boxed{- Ann: red\n- Bo: blue}", {"Bo": "blue", "Ann": "red"}).correct


def test_lists_under_the_word_answer_may_have_lines_and_numbers() -> None:
    assert logic.verify("So:\n\n**Answer:**\n1. Ann\n2. Bo\n\nDone.", ["Ann", "Bo"]).correct
    answer = "Answer:\n- Ann: red\n- Bo: blue"
    assert logic.verify(answer, {"Bo": "blue", "Ann": "red"}).correct
    assert logic.verify(f"{answer}\n- Cy: red", {"Bo": "blue", "Ann": "red"}).correct is False


def test_aliases_are_as_good_as_the_reference() -> None:
    for answer in ("NYC", "New York", "the Big Apple"):
        assert logic.verify(f"#### {answer}", "New York", aliases=["NYC", "big apple"]).correct
    assert logic.verify("#### NYC", "New York", aliases='["NYC"]').correct
    assert logic.verify("#### Boston", "New York", aliases=["NYC"]).correct is False
    assert logic.verify("#### N", "New York", aliases="NYC").reason == "unparsable_reference"


@pytest.mark.parametrize(
    "reference", ["", "?!", None, [], {}, float("nan"), ["a", None], {"a": ["b"]}, "[]", object()]
)
def test_an_unreadable_reference_is_undecided(reference: object) -> None:
    for columns in ({"reference": reference}, {"reference": "x", "aliases": [reference]}):
        verdict = logic.verify("#### x", **columns)
        assert (verdict.correct, verdict.reason) == (None, "unparsable_reference")


@pytest.mark.parametrize(
    "hostile",
    ["\x00" * 1000, "\ud800", "true or false " * 150_000, "#### " + "[" * 19_000, ": " * 1_000_000,
     "#### " + " " * 19_000 + ":", "#### " + "a:b, " * 3900, "#### " + "a" * 19_000 + ":",
     "x" * 10**7, "#### " + "a > " * 4500, "#### " + "\ufdfa" * 19_000, "1. " * 600_000],
    ids=lambda text: f"{text[:8]!r}*{len(text)}",
)  # fmt: skip
@pytest.mark.parametrize("reference", [True, "Alice", {"Alice": "red"}, ["Alice", "Bob"]])
def test_hostile_text_is_not_right_and_costs_little(hostile: str, reference: object) -> None:
    started = time.perf_counter()
    assert logic.verify(hostile, reference).correct is False
    assert time.perf_counter() - started < 1.0
