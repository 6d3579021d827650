"""The problems of HumanEval (Chen et al. 2021, 2107.03374): all model solutions are right, and none
of them is when it is spoilt."""

import ast
import gzip
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from verifiers import code, grade

pytestmark = pytest.mark.usefixtures("shared_sandbox")


@pytest.fixture(scope="module")
def rows():
    folder = os.environ.get("ALIGN_DATA")
    if not folder:
        pytest.skip("ALIGN_DATA names no folder with HumanEval.jsonl.gz")
    with gzip.open(Path(folder, "HumanEval.jsonl.gz"), "rt") as lines:
        found = [json.loads(line) for line in lines]
    return [{**row, "answer": row["test"]} for row in found]


def whole(row: dict) -> str:
    return row["prompt"] + row["canonical_solution"]


def fenced(program: str) -> str:
    return f"This does it:\n\n```python\n{program}\n```\n"


def without_last_statement(row: dict) -> str:
    tree = ast.parse(whole(row))
    function = [node for node in tree.body if getattr(node, "name", "") == row["entry_point"]][-1]
    function.body[-1] = ast.Pass()
    return ast.unparse(tree)


def with_another_result(row: dict) -> str:
    name = row["entry_point"]
    return f"{whole(row)}\n_{name} = {name}\ndef {name}(*args):\n    return (_{name}(*args), 0)\n"


RIGHT = {
    "as a function": lambda row: fenced(whole(row)),
    "without the prompt's imports and helpers": lambda row: fenced(
        whole(row)[whole(row).index(f"def {row['entry_point']}(") :]
    ),
    "as a body": lambda row: row["canonical_solution"],
    "as a fenced body": lambda row: fenced(row["canonical_solution"]),
    "from the future": lambda row: fenced("from __future__ import annotations\n" + whole(row)),
}
WRONG = {
    "without its last statement": lambda row: fenced(without_last_statement(row)),
    "with another result": lambda row: fenced(with_another_result(row)),
    "the prompt": lambda row: row["prompt"],
    "the prompt, fenced": lambda row: fenced(row["prompt"]),
    "the tests": lambda row: fenced(row["test"]),
}


def verdicts(rows, completion):
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(lambda row: grade(code.verify, completion(row), row), rows))


@pytest.mark.parametrize("form", RIGHT)
def test_all_164_model_solutions_are_right(rows, form):
    found = verdicts(rows, RIGHT[form])
    assert [verdict for verdict in found if verdict.correct is not True] == []
    assert len(found) == 164


@pytest.mark.parametrize("form", WRONG)
def test_none_of_164_spoilt_solutions_is_right(rows, form):
    found = verdicts(rows, WRONG[form])
    assert [verdict for verdict in found if verdict.correct is not False] == []
    assert len(found) == 164


def test_a_model_solution_may_be_the_answer_and_the_tests_a_column(rows):
    row = {**rows[0], "answer": rows[0]["canonical_solution"]}
    assert grade(code.verify, fenced(whole(row)), row).correct
    assert grade(code.verify, fenced(row["prompt"]), row).correct is False
