import subprocess
import sys
import time

import pytest

from verifiers.code import extract
from verifiers.code.programs import MAX_CHARS

ONE = "def f(x):\n    return x\n"
TWO = "def f(x):\n    return 2 * x\n"


def fenced(body: str, tag: str = "python") -> str:
    return f"```{tag}\n{body}```\n"


@pytest.mark.parametrize(
    "completion",
    [
        fenced(ONE),
        f"Here it is:\n\n{fenced(ONE)}\nIt returns x.",
        fenced(TWO) + fenced(ONE),
        fenced(ONE, "py"),
        fenced(ONE, "Python3"),
        fenced(ONE, " python title='f.py'"),
        fenced(ONE, "{.python .numbered}"),
        fenced(ONE, ""),
        fenced(TWO, "") + fenced(ONE),
        fenced(ONE) + fenced(TWO, ""),
        fenced(TWO, "") + fenced(ONE, ""),
        f"~~~python\n{ONE}~~~\n",
        f"````python\n{ONE}````\n",
        fenced(ONE).replace("\n", "\r\n"),
        "1. Write it:\n\n   ```python\n   def f(x):\n       return x\n   ```\n",
        f"<think>\n{fenced(TWO)}</think>\n{fenced(ONE)}",
        f"{fenced(TWO)}</think>\n{fenced(ONE)}",
    ],
)
def test_the_last_block_in_the_language_is_the_program(completion):
    assert extract(completion) == ONE


@pytest.mark.parametrize("tag", ["text", "output", "console", "bash", "c", "json", "1."])
def test_blocks_with_another_tag_do_not_count(tag):
    assert extract(fenced(ONE) + fenced(TWO, tag)) == ONE
    assert extract(fenced(TWO, tag)) is None


def test_a_block_that_only_uses_the_function_is_not_taken_for_it():
    completion = fenced(TWO) + fenced(ONE) + "For example:\n" + fenced("print(f(3))\n")
    assert extract(completion, entry_point="f") == ONE
    assert extract(completion, entry_point="g") == "print(f(3))\n"


@pytest.mark.parametrize(
    "definition", ["async def f():", "class f:", "f = lambda x: x", "f: Callable = abs"]
)
def test_functions_are_defined_in_several_ways(definition):
    assert extract(fenced(definition + "\n") + fenced("f\n"), entry_point="f") == definition + "\n"
    assert extract(fenced("f == 1\n") + fenced("g\n"), entry_point="f") == "g\n"


def test_a_block_without_end_counts_if_no_other_does():
    assert extract(f"```python\n{ONE}") == f"{ONE}\n"
    assert extract(f"{fenced(ONE)}```python\n{TWO}") == ONE
    assert extract(f"{fenced(ONE, 'text')}```python\n{TWO}") == f"{TWO}\n"
    assert extract(f"```text\n{TWO}") is None


def test_a_fence_in_a_string_of_a_longer_fence_is_no_end():
    body = 's = """\n```\n"""\n'
    assert extract(f"````python\n{body}````") == body


@pytest.mark.parametrize(
    "text", [ONE, "print(1)", "import os", "x = 1", "class A: pass", f'"""Doc."""\n{ONE}']
)
def test_text_that_is_python_is_a_program_without_fences(text):
    assert extract(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\n", "yes", "Answer: yes", "42", "'text'", "a - b", "not sure", "I see"),
        *("\x00", "x = 1\x00", "\ud800", "(" * 1000, "-" * 100_000, "a" + ".a" * 90_000),
        *("```python\n```", "```\n\n```", "<think>" + ONE, ONE + "<think>"),
        "Use `print(1)` for it.",
    ],
)
def test_text_that_does_nothing_is_no_program(text):
    assert extract(text) is None


def test_other_languages_need_a_fence():
    program = "int main() { return 0; }\n"
    assert extract(program, "c") is None
    assert extract(fenced(program, "c"), "c") == program
    assert extract(fenced(program, "C++"), "cpp") == program
    assert extract(fenced(program, "cpp"), "c") is None
    assert extract(fenced("ls\n", "sh"), "bash") == "ls\n"
    with pytest.raises(ValueError, match="unknown language 'pyton'; did you mean"):
        extract("", "pyton")


def test_too_long_an_answer_has_no_program_but_the_thought_before_may_be_long():
    start = time.monotonic()
    assert extract(fenced(ONE) + "x" * MAX_CHARS) is None
    assert extract(f"<think>{'x' * 10 * MAX_CHARS}</think>{fenced(ONE)}") == ONE
    for hostile in ("```\n", "```x\n", "~~~\n```\n", "` ", "<think>", "\n", "def f"):
        extract(hostile * (MAX_CHARS // len(hostile)), entry_point="f")
    assert time.monotonic() - start < 5


def test_reading_programs_imports_nothing_heavy():
    code = "import sys, verifiers.code; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "sympy", "datasets"} & set(done.stdout.split())
