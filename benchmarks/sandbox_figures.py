"""How fast and how right the code sandbox is; each figure beside that of a plain subprocess."""

import ast
import gzip
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from markdown import table

import verifiers
from verifiers.sandbox import Sandbox, Test

PROGRAM = "pass\n"
NUM_TESTS = 20


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def speed(level: int, rounds: int = 150) -> list[str]:
    """One row: latencies in ms, medians of interleaved rounds, and their ratios to plain."""
    with (
        Sandbox(max_level=level, min_level=level, workers=1) as sandbox,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder, "main.py")
        path.write_text(PROGRAM)
        # The command and environment that the sandbox uses inside.
        command, env = ["python3", "-s", str(path)], {"PATH": os.defpath, "LANG": "C.UTF-8"}

        def plain() -> None:
            subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True)

        def cold() -> None:
            assert sandbox.run("python", PROGRAM).accepted

        def warm() -> None:
            assert sandbox.script(PROGRAM).accepted

        def many() -> None:
            tests = [Test(str(i)) for i in range(NUM_TESTS)]
            assert sandbox.run("python", PROGRAM, tests=tests).accepted

        cold(), warm()
        plain_s, cold_s = _medians(plain, cold, rounds)
        rates = [rounds / total for total in map(sum, _interleaved(plain, warm, rounds))]
        beside_s, many_s = _medians(plain, many, rounds // 10)
    return [
        str(level),
        f"{plain_s * 1e3:.1f}",
        f"{cold_s * 1e3:.1f}",
        f"**{cold_s / plain_s:.2f}**",
        *(f"{rate:.0f}" for rate in rates),
        f"**{rates[1] / rates[0]:.2f}**",
        f"{many_s / NUM_TESTS * 1e3:.1f}",
        f"**{many_s / NUM_TESTS / beside_s:.2f}**",
    ]


def _interleaved(one: Callable, other: Callable, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each, taken in turn so that what else the machine does falls on both alike."""
    times = [(seconds(one), seconds(other)) for _ in range(rounds)]
    return [t for t, _ in times], [t for _, t in times]


def _medians(one: Callable, other: Callable, rounds: int) -> tuple[float, float]:
    first, second = _interleaved(one, other, rounds)
    return statistics.median(first), statistics.median(second)


def speeds() -> str:
    head = ["level", "plain, ms", "cold, ms", "cold / plain", "plain, 1/s", "warm, 1/s"]
    head += ["warm / plain", "a test of 20, ms", "a test / plain"]
    rows = [speed(level) for level in (3, 2)]
    return table([head, *rows])


def humaneval(data: Path) -> str:
    """Canonical solutions, and wrong ones made of them, as the verifier `code` grades them."""
    with gzip.open(data / "HumanEval.jsonl.gz", "rt") as file:
        problems = [json.loads(line) for line in file]
    variants = {
        "canonical solution": (lambda p: p["prompt"] + p["canonical_solution"], True),
        "last statement dropped": (_without_last_statement, False),
        "result altered": (_with_altered_result, False),
    }
    rows = [["program", "expected", "as expected", "undecided", "seconds"]]
    for title, (make, right) in variants.items():
        started = time.perf_counter()

        def grade(problem: dict, make: Callable = make) -> bool | None:
            verdict = verifiers.code.grade(
                make(problem),
                problem["test"],
                entry_point=problem["entry_point"],
                prompt=problem["prompt"],
            )
            return verdict.correct

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            found = list(threads.map(grade, problems))
        rows.append(
            [
                title,
                "accepted" if right else "rejected",
                f"**{found.count(right)} of {len(found)}**",
                str(found.count(None)),
                f"{time.perf_counter() - started:.1f}",
            ]
        )
    return table(rows)


def _function(problem: dict) -> tuple[ast.Module, ast.FunctionDef]:
    tree = ast.parse(problem["prompt"] + problem["canonical_solution"])
    named = [n for n in tree.body if getattr(n, "name", None) == problem["entry_point"]]
    return tree, named[-1]


def _without_last_statement(problem: dict) -> str:
    tree, function = _function(problem)
    function.body = function.body[:-1] or [ast.Pass()]
    return ast.unparse(tree)


def _with_altered_result(problem: dict) -> str:
    """The function's result within a list: never equal to itself, nor truthy where it was not."""
    name = problem["entry_point"]
    return (
        f"{problem['prompt']}{problem['canonical_solution']}\n\n"
        f"_right = {name}\n"
        f"def {name}(*args, **kwargs):\n"
        "    right = _right(*args, **kwargs)\n"
        "    if isinstance(right, bool): return not right\n"
        "    return right + 1 if isinstance(right, (int, float)) else [right]\n"
    )
