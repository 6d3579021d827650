"""What runs inside a worker, called here in this process, but for its limits."""

import subprocess
import sys
import time

import pytest

pytest.importorskip("math_verify")

from verifiers.math import equivalence
from verifiers.math.notation import tidy


def _outcome(answer: str, reference: str, tolerance: float | None = None) -> str:
    request = {"answer": tidy(answer), "reference": tidy(reference), "tolerance": tolerance}
    return equivalence.handle({**request, "timeout_s": 60.0})["outcome"]


EQUAL = [
    (r"\sqrt{8}", r"2\sqrt2"),
    ("2*sqrt(2)", r"2\sqrt2"),
    (r"\frac{\sqrt3}3", r"\frac{1}{\sqrt3}"),
    (r"\sqrt{2}\sqrt{3}-\sqrt{6}", "0"),
    (r"\sqrt[3]{8}", "2"),
    ("pi/2", r"\frac{\pi}{2}"),
    (r"1,000\pi", r"1000\pi"),
    (r"1-\frac1e", r"1-\frac1{\mathrm e}"),
    ("2^10", "1024"),
    (r"\binom{5}{2}", "10"),
    (r"\log_2 8", "3"),
    (r"\gcd(12,18)", "6"),
    (r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}"),
    (r"\sin 30^\circ", "1/2"),
    ("(x+1)**2", "x^2+2x+1"),
    ("x(x+1)", "x^2+x"),
    ("1/2 x", r"\frac{x}{2}"),
    ("0.5x", "x/2"),
    (r"\frac{x^2-1}{x-1}", "x+1"),
    (r"\ln(x^2)", r"2\ln x"),
    (r"\sin 2x", r"2\sin x\cos x"),
    ("|x-1|", "|1-x|"),
    ("(1+i)^2", "2i"),
    (r"e^{i\pi}", "-1"),
    (r"36\pi\text{ square units}", r"36\pi"),
    ("y=2x+1", "2x-y+1=0"),
    ("y=2x+1", "2x+1"),
    ("x^2=4", "x^2-4=0"),
    ("2x>4", "x>2"),
    ("-2x<-4", "x>2"),
    ("2x>4", r"(2,\infty)"),
    ("-2 < 2x+1 < 3", "3 > 2x+1 > -2"),
    (r"\mathbb{R}", r"(-\infty,\infty)"),
    (r"\mathbb{R}\setminus\{0\}", r"(-\infty,0)\cup(0,\infty)"),
    (r"\frac12\begin{pmatrix}2&4\\6&8\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    (r"\{\sqrt8, \frac{\pi}{2}\}", r"\{\pi/2, 2\sqrt2\}"),
    (r"f^{-1}(x)=2x", "x+x"),
    (r"x=\frac{\pi}{6}+2k\pi, k\in\mathbb{Z}", r"2k\pi+\frac{\pi}{6}"),
    (r"p \to q", r"p\to q"),
    ("3.141593", r"\pi"),
]
UNEQUAL = [
    (r"\frac1{2004!}", r"\frac1{2006!}"),
    (r"\frac1{2^{99}}", r"\frac1{2^{98}}"),
    ("x+2^{-99}", "x+2^{-98}"),
    ("x=2^{-99}", "x=2^{-98}"),
    ("10^{-200}", "0"),
    (r"1-\frac1{\mathrm e}", r"1+\frac1{\mathrm e}"),
    ("3.14", r"\pi"),
    ("1.41421", r"\sqrt2"),
    (r"\sqrt{x^2}", "x"),
    (r"\sin x", r"\cos x"),
    ("x^2", "2^x"),
    ("2x>4", "x<2"),
    ("2x>4", r"x\ge 2"),
    ("x=5", "y=5"),
    ("y=2x+1", "y=2x+2"),
    ("11a+c", "7 = 11a+c"),
    (r"\mathbb{R}", r"(0,\infty)"),
    (r"\begin{pmatrix}\pi&2\end{pmatrix}", r"\begin{pmatrix}\pi\\2\end{pmatrix}"),
    (r"\infty", r"-\infty"),
    (r"(\sqrt2,\sqrt3)", r"(\sqrt3,\sqrt2)"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equivalent_answers_are_equal_both_ways(one: str, other: str) -> None:
    assert _outcome(one, other) == _outcome(other, one) == "equal"


@pytest.mark.parametrize(("one", "other"), UNEQUAL)
def test_other_answers_are_not_equal_either_way(one: str, other: str) -> None:
    assert _outcome(one, other) == _outcome(other, one) == "not_equal"


@pytest.mark.parametrize(
    "text", ["12 34", r"\frac{1}{0}", "x+", ")(", "5\x00", r"\frac", "--5", "(" * 99]
)
def test_the_side_that_cannot_be_read_is_named(text: str) -> None:
    assert _outcome(text, "x+1") == "unparsable_answer"
    assert _outcome("x+1", text) == "unparsable_reference"


def test_a_tolerance_is_relative_and_applies_to_expressions() -> None:
    assert _outcome("3.14", r"\pi", 0.001) == "equal"
    assert _outcome("3.13", r"\pi", 0.001) == "not_equal"
    assert _outcome(r"2.0\cdot 2^{-99}", r"1.0\cdot 2^{-99}", 0.001) == "not_equal"


def test_the_parsers_still_misread_what_we_keep_from_them() -> None:
    """Why members are taken apart and `12 34` refused here; if this fails, that may go."""
    from latex2sympy2_extended import latex2sympy

    assert latex2sympy("123,456,789") == 123456789
    assert latex2sympy("12 34") == 46


def test_a_worker_nobody_can_kill_any_more_ends_by_itself() -> None:
    script = f"""
import sys
sys.path[:] = {sys.path!r}
from verifiers.math import equivalence
equivalence.prepare()
equivalence.handle({{"answer": "9^{{9^{{9^9}}}}", "reference": "x", "timeout_s": 0.1}})
"""
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert ended.returncode == -14, ended.stderr[-500:]  # SIGALRM
    assert time.monotonic() - started < 30.0


def test_memory_has_an_end() -> None:
    script = f"""
import sys
sys.path[:] = {sys.path!r}
from verifiers.math import equivalence
equivalence.prepare()
try:
    bytearray(3 << 30)
except MemoryError:
    print("refused")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert ended.stdout.strip() == b"refused", ended.stderr[-500:]
