"""Tests of programs, from the forms that data sets have them in."""

import ast
import builtins
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verifiers.code.programs import defines, parsed
from verifiers.sandbox import Test
from verifiers.verdict import VerifierError

_STDIN = ("stdin", "input")
_STDOUT = ("expected_stdout", "output")


class UnreadableTests(ValueError):
    """The tests of this one row can't be used; the message says why."""


@dataclass(frozen=True)
class FunctionTests:
    """Python code that calls the function `entry_point`.

    tests: code of each; it runs by itself. setup, call: code before and after each. prompt: the
    source that the model was given to go on from, if there is one.
    """

    entry_point: str
    tests: tuple[str, ...]
    setup: str = ""
    call: str = ""
    prompt: str = ""


def read(
    tests: Any, *, entry_point: str | None = None, prompt: Any = None, setup: str | None = None
) -> FunctionTests | tuple[Test, ...]:
    """Tests of a function, or of a whole program by its input and output.

    tests: any of these, or one of them as JSON:
        the source of `def check(candidate)`, as in HumanEval, with entry_point;
        {"test": the same, "entry_point": ..., "prompt": ..., "setup": ...};
        a list of assert statements, as in MBPP; one such test may be a plain string;
        [{"input": ..., "output": ...}], or with "stdin" and "expected_stdout";
        {"inputs": [...], "outputs": [...]}, as in APPS; or, as in CodeContests, in the singular.
    entry_point: where asserts call but one function that is neither Python's nor the setup's, it is
    that one. prompt: taken for source if it parses and defines the entry point.
    Raises UnreadableTests, and VerifierError for `check` without an entry point.
    """
    if isinstance(tests, str) and tests.lstrip()[:1] in ("[", "{"):
        tests = _from_json(tests)
    if isinstance(tests, Mapping) and "test" in tests:
        given = {"entry_point": entry_point, "prompt": prompt, "setup": setup}
        own = {name: tests[name] for name in given if tests.get(name) is not None}
        return read(tests["test"], **{**given, **own})
    if isinstance(tests, Mapping):
        return _by_columns(tests)
    if isinstance(tests, str):
        tests = [tests]
    if not isinstance(tests, Sequence) or not tests:
        raise UnreadableTests(f"tests are {_shown(tests)}; give at least one")
    if all(isinstance(test, Mapping) for test in tests):
        return tuple(_by_output(test, number) for number, test in enumerate(tests, 1))
    if not all(isinstance(test, str) for test in tests):
        raise UnreadableTests(f"tests are neither all code nor all input and output: {tests!r:.80}")
    for name, text in (("entry_point", entry_point), ("setup", setup)):
        if not isinstance(text, str | None):
            raise UnreadableTests(f"{name} is {_shown(text)}; give text")
    return _of_function(list(tests), entry_point, prompt, setup or "")


def _of_function(
    codes: list[str], entry_point: str | None, prompt: Any, setup: str
) -> FunctionTests:
    trees = [_parsed_test(code) for code in (setup, *codes)]
    has_check = any(_binds(tree, "check") for tree in trees[1:])
    if has_check and not entry_point:
        raise VerifierError(
            "verifier 'code' needs the column 'entry_point': the function that check() is to test"
        )
    if not entry_point:
        entry_point = _only_call(trees)
    if not entry_point.isidentifier():
        raise UnreadableTests(f"entry_point {entry_point!r:.80} is no name of a function")
    is_source = isinstance(prompt, str) and defines(prompt, entry_point) and bool(parsed(prompt))
    return FunctionTests(
        entry_point,
        tuple(codes),
        # The prompt's helpers are for the tests too; its entry point gives way to the program's.
        setup=f"{prompt}\n{setup}" if is_source else setup,
        call=f"check({entry_point})" if has_check else "",
        prompt=prompt if is_source else "",
    )


def _parsed_test(code: str) -> ast.Module:
    tree = parsed(code)
    if tree is None:
        raise UnreadableTests(f"no Python code: {code!r:.80}")
    return tree


def _only_call(trees: list[ast.Module]) -> str:
    """The one function that is called and comes from nowhere else."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    called = {
        node.func.id
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    bound = {name for node in nodes for name in _bound(node)}
    names = sorted(called - bound - set(dir(builtins)))
    if len(names) != 1:
        found = f"several functions ({', '.join(names)})" if names else "no function"
        raise UnreadableTests(f"the tests call {found}; name the one in the column 'entry_point'")
    return names[0]


def _bound(node: ast.AST) -> set[str]:
    """Names that the node gives a meaning to."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return {node.id}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.arg):
        return {node.arg}
    if isinstance(node, ast.alias):
        return {(node.asname or node.name).partition(".")[0]}
    return set()


def _binds(tree: ast.Module, name: str) -> bool:
    return any(name in _bound(statement) for statement in tree.body)


def _by_columns(tests: Mapping[str, Any]) -> tuple[Test, ...]:
    inputs = tests.get("inputs", tests.get("input"))
    outputs = tests.get("outputs", tests.get("output"))
    if tests.get("fn_name"):
        raise UnreadableTests("fn_name: tests that call a function are given as asserts here")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or not inputs:
        raise UnreadableTests(f"no 'test', and no 'inputs' and 'outputs': {_shown(tests)}")
    if len(inputs) != len(outputs):
        raise UnreadableTests(f"{len(inputs)} inputs and {len(outputs)} outputs")
    return read([{"input": i, "output": o} for i, o in zip(inputs, outputs, strict=True)])


def _by_output(test: Mapping[str, Any], number: int) -> Test:
    stdin = next((test[name] for name in _STDIN if name in test), None)
    expected = next((test[name] for name in _STDOUT if name in test), None)
    if not isinstance(stdin, str) or not isinstance(expected, str) or test.get("fn_name"):
        raise UnreadableTests(f"test {number} has no text as input and as output: {_shown(test)}")
    try:
        (stdin + expected).encode()
    except UnicodeEncodeError as error:
        raise UnreadableTests(f"test {number}: {error}") from None
    return Test(str(number), stdin, expected_stdout=expected)


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableTests(f"no JSON: {error}") from None


def _shown(value: Any) -> str:
    return f"{value!r:.80}"
