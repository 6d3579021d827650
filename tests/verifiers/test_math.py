import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import verifiers
from verifiers import VerifierError, math
from verifiers.math import judging
from verifiers.workers import WorkerFailure


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
        ("$10 per day", "10"),
        ("\\$5 each", "5"),
        ("12 \\text{ sq. units}", "12"),
        ("\uff17\uff12", "72"),
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
        (r"\text{Yes}", r"\text{yes}"),
        ("true", "yes"),
        (r"\text{(A)}", "A"),
        ("A", "(A)"),
        (r"\textbf{(B)}\ 5", "B"),
        ("B. five apples", "B"),
        (r"\text{Evelyn}", "evelyn"),
        ("x = 5", "5"),
        ("5", "x=5"),
        ("2+3=5", "5"),
        ("(0,12.5)", "0<x<12.5"),
        (r"0 < x < \frac{25}{2}", "(0,12.5)"),
        (r"x\ge 2", r"[2, \infty)"),
        (r"x\in[0,1]", r"0\le x\le1"),
        (r"x < 0 \text{ or } x > 1", r"(1,+\infty)\cup(-\infty,0)"),
        (r"x\ne 0", r"(-\infty,0)\cup(0,\infty)"),
        (r"\{789,456,123\}", r"\{123,456,789\}"),
        ("789,456,123", r"\{123,456,789\}"),
        ("2 and 1", r"\{1,2\}"),
        ("1, 2", "(1,2)"),
        (r"\pm 2", "2, -2"),
        (r"\{5\}", "5"),
        ("x=1, y=2", "(1,2)"),
        ("x=1,y=2; x=3,y=4", "(3,4),(1,2)"),
        (r"\emptyset", r"\{\}"),
        (
            r"\begin{pmatrix} 1 & 0.5 \\ 3 & 4 \end{pmatrix}",
            r"\begin{bmatrix}1&\frac12\\3&4\end{bmatrix}",
        ),
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
        ("5 millions", "5"),
        ("5 hundredths", "5"),
        ("5 six", "5"),
        ("5 maybe", "5"),
        ("5 squared", "5"),
        ("$5 million", "5"),
        ("$5 or six", "5"),
        ("(A) 5 (B) 6", "A"),
        ("A. B. C. D.", "A"),
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
        ("9" * 2900, "#### " + "9" * 2899),
        ("100000000000000000001", "100000000000000000000"),
        ("5\x00", "5"),
        ("(B) 5", "A"),
        ("no", "yes"),
        ("Bob", "Evelyn"),
        ("no solution", "0"),
        (r"\{1,2\}", "(1,2)"),
        (r"\{1,2,3\}", "1,2"),
        ("(1,2)", "(2,1)"),
        ("[0,1]", "(0,1)"),
        ("x<1", "x>1"),
        ("x>5", "y>5"),
        ("5", r"\{5,6\}"),
        (r"(1,2)\cup(3,4)", "(1,2)"),
        ("123,456", "456,123"),
        ("3:4", "4:3"),
        (r"1\frac12", "11/2"),
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
    assert math.verify("#### 1" + "0" * 400, 10**400).correct  # no float is as large


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
    completions = ["#### 1", r"\boxed{\sqrt8}", "#### 2", "", r"\boxed{x+1}"]
    references = ["1", r"2\sqrt2", "1", "1", "x+2"]
    verdicts = math.verify_batch(completions, references)
    assert [v.correct for v in verdicts] == [True, True, False, False, False]
    assert math.verify_batch([], []) == []
    with pytest.raises(ValueError, match="2 completions, but 1 reference"):
        math.verify_batch(["1", "2"], ["1"])


def test_several_boxes_are_one_answer_only_if_the_reference_has_several_members() -> None:
    both = r"$x=\boxed{1}$ or $x=\boxed{-2}$."
    assert math.verify(both, "-2, 1").correct and math.verify(both, "-2").correct
    assert not math.verify(both, "1").correct
    assert math.verify("-2, 1", both).correct and not math.verify("-2", both).correct


HOSTILE = [
    "9^{9^{9^9}}",
    "((9!)!)!",
    r"\sum_{k=1}^{10^9} \frac{1}{k^2+1}",
    r"\int_0^1 x^x\sin(x^x)\,dx",
    r"\prod_{k=1}^{10^6} k",
    r"\gcd(2^{10^9},3^{10^9})",
    r"x^{9^{9^9}}",
    "x^" * 1_900 + "x",
    "|" * 3_000 + "x",
    r"\sin(10^{10^{10}})",
]


def test_hostile_expressions_cost_at_most_their_budget_and_harm_nobody() -> None:
    math.verify(r"\boxed{x+1}", "1+x")
    completions, references = [], []
    for hostile in HOSTILE:
        completions += [f"\\boxed{{{hostile}}}", r"\boxed{(x+1)^2}"]
        references += ["x+42", "x^2+2x+1"]
    started = time.perf_counter()
    verdicts = math.verify_batch(completions, references, timeout_s=0.5)
    seconds = time.perf_counter() - started
    assert {verdict.reason for verdict in verdicts[1::2]} == {"equal"}
    assert {verdict.reason for verdict in verdicts[::2]} <= {"timeout", "unparsable_answer"}
    assert not any(verdict.correct for verdict in verdicts[::2])
    # Half a second for each, and as long as a busy machine takes to start a worker anew.
    assert seconds < len(HOSTILE) * 6.0


@pytest.mark.parametrize(
    "answer",
    [
        "100000000!",
        "9^{9^9}",
        r"\binom{10^9}{5\cdot 10^8}",
        r"\frac{1}{" * 300 + "2" + "}" * 300,
        "7" * 500_000,
        "x+" * 1_000_000 + "x",
        "x^\ud800",
        "\x00",
        r"\frac" * 700,
        "1," * 1_900,
    ],
    ids=lambda text: f"{text[:8]!a}*{len(text)}",
)
def test_odd_answers_are_wrong_and_not_undecided(answer: str) -> None:
    assert math.verify(f"\\boxed{{{answer}}}", "72").correct is False


@pytest.mark.parametrize(
    "reference", ["see figure", "Answers may vary.", "x+", "5" * 5_000, r"\frac"]
)
def test_a_reference_that_is_no_answer_leaves_the_row_undecided(reference: str) -> None:
    verdict = math.verify(r"\boxed{x+1}", reference)
    assert (verdict.correct, verdict.reason) == (None, "unparsable_reference")


def test_works_from_threads_and_in_forked_children() -> None:
    def one(number: int) -> bool | None:
        return math.verify(rf"\boxed{{(x+{number})^2}}", f"x^2+{2 * number}x+{number**2}").correct

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(one, range(40)))
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if one(50) and one(51) else 1)
        finally:
            os._exit(2)
    assert one(60) is True
    assert os.waitpid(child, 0)[1] == 0


def test_limits_can_be_given_by_call_row_or_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert math.verify("#### 3.14", r"\pi").correct is False
    assert math.verify("#### 3.14", r"\pi", tolerance=0.001).correct is True
    row = {"answer": "100", "tolerance": 0.02, "subject": "algebra"}
    assert verifiers.grade(math.verify, "#### 101", row).correct is True
    with pytest.raises(VerifierError, match="tolerance is 'small'"):
        math.verify("#### 1", "1", tolerance="small")
    with pytest.raises(VerifierError, match="timeout_s is -1"):
        math.configure(timeout_s=-1)
    with pytest.raises(ValueError, match="workers is 0"):
        math.configure(workers=0)
    monkeypatch.setattr(judging._Settings, "timeout_s", judging._Settings.timeout_s)
    math.configure(timeout_s=0.3)
    assert math.verify(r"\boxed{9^{9^{9^9}}}", "5").reason == "timeout"


def test_a_worker_that_dies_is_a_verifier_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def map(self, requests: list, seconds: float) -> list:
            return [WorkerFailure("worker_died", "exit status 1") for _ in requests]

    monkeypatch.setattr(judging._Settings, "pool", Broken())
    verdict = math.verify(r"\boxed{x+1}", "1+x")
    assert (verdict.correct, verdict.reason) == (None, "verifier_error")


def test_importing_the_verifier_imports_no_algebra() -> None:
    script = (
        "import sys, verifiers.math; print({'sympy', 'math_verify', 'torch'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stdout.strip() == "set()", ended.stderr


@pytest.mark.skipif("ALIGN_DATA" not in os.environ, reason="ALIGN_DATA names no folder of data")
def test_every_gsm8k_solution_is_right_and_off_by_one_is_wrong() -> None:
    lines = (Path(os.environ["ALIGN_DATA"]) / "gsm8k_train.jsonl").read_text().splitlines()
    for solution in (json.loads(line)["answer"] for line in lines):
        work, answer = solution.rsplit("#### ", 1)
        other = f"{work}#### {int(answer.replace(',', '')) + 1}"
        assert math.verify(solution, solution).reason == "equal"
        assert math.verify(other, solution).reason == "not_equal"


def test_unknown_verifier_is_named_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match="unknown verifier 'maths'; did you mean 'math'"):
        verifiers.get("maths")
    assert verifiers.get("math") is math.verify
