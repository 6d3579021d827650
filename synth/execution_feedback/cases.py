"""The tests: an input and the output that it must give, as texts."""

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synth.execution_feedback.problem import Problem
from synth.flow.window import Window
from verifiers.sandbox.inside import plain

_TEXT = {"type": "string", "maxLength": 20_000}
SCHEMA = {
    "type": "object",
    "properties": {
        "tests": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "type": "object",
                # In this order: the output is worked out before it is stated.
                "properties": {"input": _TEXT, "working": _TEXT, "output": _TEXT},
                "required": ["input", "working", "output"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["tests"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Case:
    """A test.

    input: what a program reads, or Python's source of a list of arguments. output: what decides
    whether outputs are the same (see `same` and `key`). shown: the output as rows have it.
    """

    input: str
    output: str
    shown: str


def write(window: Window, problems: Sequence[Problem], settings: Any) -> None:
    """Ask for tests, and reject those that can't be read, ask for nothing, or come twice."""
    prompts = {
        is_function: window.prompts.get("tests_function" if is_function else "tests")
        for is_function in (False, True)
    }
    by_item = {problem.item.id: problem for problem in problems}
    answers = window.generate(
        "tests",
        [problem.item for problem in problems],
        lambda item: prompts[by_item[item.id].entry_point is not None].fill(
            {
                "problem": by_item[item.id].question,
                "entry_point": by_item[item.id].entry_point,
                "number": settings.tests_per_answer,
            }
        ),
        n=settings.test_answers,
        engine=settings.judge,
        schema=SCHEMA,
        parse=_storable,
    )
    for problem, group in zip(problems, answers, strict=True):
        known: set[tuple[str, str]] = set()
        for answer in group:
            tests = [{"test": test} for test in answer.value["tests"]]
            for test in window.expand("test", answer, tests):
                test.text = ""  # the whole answer's, with all its tests
                _take(window, problem, test, known)


def _storable(value: Any) -> Any:
    """Raises ValueError for half of a surrogate pair, which JSON can hold and nothing else can."""
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _take(window: Window, problem: Problem, test: Any, known: set[tuple[str, str]]) -> None:
    window.tally("tests")
    read = program_case if problem.entry_point is None else function_case
    try:
        test.value = case = read(test.columns["test"])
    except ValueError as error:
        window.reject(test, "test:unreadable", str(error))
        return
    if not case.output.strip():
        window.reject(test, "test:blank_output")  # what does nothing at all would pass it
    elif (case.input, case.output) in known:
        window.reject(test, "test:duplicate")
    else:
        known.add((case.input, case.output))
        problem.tests.append(test)


def program_case(test: dict[str, str]) -> Case:
    """The input ends its last line, as some languages can't read one that does not end."""
    given, output = test["input"], same(test["output"])
    if given and not given.endswith("\n"):
        given += "\n"
    return Case(given, output, output)


def same(output: str) -> str:
    """Without trailing spaces of lines and trailing empty lines, as the sandbox compares."""
    return "\n".join(line.rstrip() for line in output.rstrip().split("\n"))


def function_case(test: dict[str, str]) -> Case:
    """Raises ValueError for what is no Python literal, or no list of arguments."""
    arguments, _ = _literal(test["input"])
    if not isinstance(arguments, ast.List):
        raise ValueError(f"no list of arguments: {test['input'][:80]!r}")
    output, value = _literal(test["output"])
    return Case(ast.unparse(arguments), key(value), ast.unparse(output))


def _literal(text: str) -> tuple[ast.expr, Any]:
    """The syntax and the value. Source rather than `repr`, which orders a set by chance."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        value = ast.literal_eval(tree)
        plain.encode(value)
        ast.literal_eval(repr(value))  # which infinity fails
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"no literal ({type(error).__name__}): {text[:80]!r}") from None
    return tree, value


def key(value: Any) -> str:
    """Equal for values that are equal in Python: 1, 1.0 and True, sets and dicts in any order."""
    if isinstance(value, bool | int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(int(value) if value.is_integer() else value)
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(map(key, value))})"
    if isinstance(value, set | frozenset):
        return f"set({', '.join(sorted(map(key, value)))})"
    if isinstance(value, dict):
        return f"dict({', '.join(sorted(f'{key(k)}: {key(v)}' for k, v in value.items()))})"
    return repr(value)


def as_json(cases: Sequence[Case], entry_point: str | None) -> str:
    """The tests in a form that verifier `code` takes: asserts, or inputs with their outputs."""
    if entry_point is None:
        tests = [{"input": case.input, "output": case.shown} for case in cases]
    else:
        # The brackets of the list become those of the call.
        tests = [f"assert {entry_point}({case.input[1:-1]}) == {case.shown}" for case in cases]
    return json.dumps(tests, ensure_ascii=False)
