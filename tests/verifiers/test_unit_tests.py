import json

import pytest

from verifiers import VerifierError
from verifiers.code.unit_tests import FunctionTests, UnreadableTests, read
from verifiers.sandbox import Test

CHECK = "def check(candidate):\n    assert candidate(1) == 2\n"
PROMPT = 'import re\n\ndef helper(x):\n    return x\n\ndef f(x):\n    """Add one."""\n'


def test_check_is_called_on_the_entry_point():
    tests = read(CHECK, entry_point="f")
    assert tests == FunctionTests("f", (CHECK,), call="check(f)")
    assert read({"test": CHECK, "entry_point": "f"}) == tests
    assert read(json.dumps({"test": CHECK, "entry_point": "f"})) == tests


def test_check_without_entry_point_can_judge_nothing():
    with pytest.raises(VerifierError, match="column 'entry_point'"):
        read(CHECK)


def test_source_that_breaks_off_in_the_entry_point_is_there_for_program_and_tests():
    tests = read(CHECK, entry_point="f", prompt=PROMPT, setup="import math")
    assert tests.prompt == PROMPT
    assert tests.setup == f"{PROMPT}\nimport math"
    assert read({"test": CHECK, "entry_point": "f", "prompt": PROMPT, "setup": "import math"}) == (
        tests
    )


@pytest.mark.parametrize(
    "prompt",
    [
        "Write a function f.",
        "f = what?",
        "def g(x):\n    pass\n",
        [{"role": "user", "content": PROMPT}],
        None,
    ],
)
def test_a_prompt_in_words_is_no_source(prompt):
    tests = read(CHECK, entry_point="f", prompt=prompt)
    assert (tests.prompt, tests.setup) == ("", "")


@pytest.mark.parametrize(
    ("asserts", "setup", "entry_point"),
    [
        (["assert f(1) == 2", "assert f(2) == 3"], "", "f"),
        (["assert set(f((1, 2))) == set((2, 3))"], "", "f"),
        (["import math\nassert math.isclose(f(1), 2)"], "", "f"),
        (["assert isclose(f(1), 2)"], "from math import isclose", "f"),
        (["def near(a, b): return abs(a - b) < 1\nassert near(f(1), 2)"], "", "f"),
        (["key = lambda g: g(1)\nassert key(abs) == f(1)"], "", "f"),
        (["assert f(f(1)) == 3"], "", "f"),
    ],
)
def test_the_entry_point_is_the_one_function_that_comes_from_nowhere(asserts, setup, entry_point):
    tests = read(asserts, setup=setup)
    assert tests.entry_point == entry_point
    assert tests.tests == tuple(asserts)
    assert tests.call == ""


def test_one_test_may_be_a_plain_string():
    assert read("assert f(1) == 2") == read(["assert f(1) == 2"])
    assert read({"test": ["assert f(1) == 2"], "setup": "x = 1"}).setup == "x = 1"


STDIN = (Test("1", "1 2", expected_stdout="3"), Test("2", "4 5\n", expected_stdout="9\n"))


@pytest.mark.parametrize(
    "tests",
    [
        [{"input": "1 2", "output": "3"}, {"input": "4 5\n", "output": "9\n"}],
        [
            {"stdin": "1 2", "expected_stdout": "3"},
            {"stdin": "4 5\n", "expected_stdout": "9\n", "weight": 2},
        ],
        {"inputs": ["1 2", "4 5\n"], "outputs": ["3", "9\n"]},
        {"input": ["1 2", "4 5\n"], "output": ["3", "9\n"]},
    ],
)
def test_inputs_and_outputs_come_in_several_forms(tests):
    assert read(tests) == STDIN
    assert read(json.dumps(tests)) == STDIN


@pytest.mark.parametrize(
    ("tests", "why"),
    [
        ([], "at least one"),
        ("", "no function"),
        (None, "at least one"),
        (7, "at least one"),
        ("[1,", "no JSON"),
        ("[" * 100_000, "no JSON"),
        (["assert f(1) =="], "no Python code"),
        (["assert f(1)\x00"], "no Python code"),
        (["assert 1 == 1"], "no function"),
        (["assert f(g(1)) == 2"], r"several functions \(f, g\)"),
        (["assert f(1)", {"input": "", "output": ""}], "neither"),
        ({"input": "1", "output": "2"}, "no 'test'"),
        ({"inputs": [], "outputs": []}, "no 'test'"),
        ({"inputs": ["1"], "outputs": []}, "1 inputs and 0 outputs"),
        ({"inputs": [[1]], "outputs": [[2]], "fn_name": "f"}, "fn_name"),
        ([{"input": "1"}], "test 1 has no text"),
        ([{"input": 1, "output": "2"}], "test 1 has no text"),
        ([{"input": "\ud800", "output": "2"}], "surrogates"),
        ({"test": CHECK, "entry_point": "a b"}, "no name"),
        ({"test": CHECK, "entry_point": 7}, "give text"),
        ({"test": ["assert f(1)"], "setup": ["import re"]}, "give text"),
    ],
)
def test_tests_that_say_nothing_are_unreadable(tests, why):
    with pytest.raises(UnreadableTests, match=why):
        read(tests)
