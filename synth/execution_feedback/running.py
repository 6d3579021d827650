"""All programs of a problem on all inputs of its tests."""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from synth.execution_feedback.cases import key, same
from synth.execution_feedback.problem import Problem, Seen
from synth.flow.verdicts import OUT_OF_TIME, PASSING
from synth.flow.window import Window
from verifiers import Limits, Test, code
from verifiers.sandbox.execution import UNDECIDED, Step

MAX_OUTPUT_BYTES = 1 << 16

MAX_HANGS = 2
"""After so many inputs without an end a program is not run on any more: one such input may be the
test's fault, but a program that hangs on all would take its time for each."""


def run(window: Window, problems: Sequence[Problem], settings: Any) -> None:
    """Note what each program gives on each input. Programs of which that can't be said, for no
    fault of theirs, are rejected as `run:undecided:<verdict>`."""
    tested = [problem for problem in problems if problem.tests]
    pairs = [(problem, program) for problem in tested for program in problem.running()]
    inputs = {problem.item.id: _inputs(problem) for problem in problems}
    results = window.compute(
        "run",
        _observed,
        [
            {
                "language": program.columns["language"],
                "program": program.value,
                "entry_point": problem.entry_point,
                "inputs": inputs[problem.item.id],
                "cpu_s": settings.cpu_s,
            }
            for problem, program in pairs
        ],
        keeps=lambda result: all(one[0] not in PASSING for one in result["seen"]),
    )
    for (problem, program), result in zip(pairs, results, strict=True):
        seen = [Seen(*one) for one in result["seen"]]
        undecided = next((one for one in seen if one.verdict in UNDECIDED), None)
        program.records.append({"step": "run", "isolation": result["isolation"]})
        if undecided:
            problem.programs.remove(program)
            window.reject(program, f"run:undecided:{undecided.verdict}", undecided.detail)
        else:
            problem.seen[program.id] = dict(zip(inputs[problem.item.id], seen, strict=True))


def _inputs(problem: Problem) -> list[str]:
    return list(dict.fromkeys(test.value.input for test in problem.tests))


def _observed(requests: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(code.sandbox().workers) as threads:
        return list(threads.map(_observe, requests))


def _observe(request: Any) -> dict[str, Any]:
    """`seen`: the result on each input, in order."""
    limits = Limits(cpu_s=request["cpu_s"], output_bytes=MAX_OUTPUT_BYTES)
    run_on = _of_language(request)
    seen: list[Result] = []
    hangs = 0
    while len(seen) < len(request["inputs"]) and hangs < MAX_HANGS:
        for result in run_on(request, request["inputs"][len(seen) :], limits):
            seen.append(result)
            if result[0] in OUT_OF_TIME:  # a compiled program does not go on from here
                hangs += 1
                break
    not_run = (seen[-1][0], None, "did not run")
    seen += [not_run] * (len(request["inputs"]) - len(seen))
    return {"seen": seen, "isolation": code.sandbox().isolation.level}


Result = tuple[str, str | None, str]
"""Verdict, output and a detail."""


def _of_language(request: Any) -> Callable[[Any, Sequence[str], Limits], Iterable[Result]]:
    if request["entry_point"] is not None:
        return _call_function
    return _run_script if request["language"] == "python" else _run_program


def _run_program(request: Any, inputs: Sequence[str], limits: Limits) -> Iterator[Result]:
    tests = [Test(str(number), text) for number, text in enumerate(inputs)]
    execution = code.sandbox().run(
        request["language"], request["program"], tests=tests, limits=limits
    )
    if len(execution.tests) != len(inputs):  # nothing ran
        yield from [(execution.verdict, None, execution.detail)] * len(inputs)
    yield from map(_of_step, execution.tests)


def _run_script(request: Any, inputs: Sequence[str], limits: Limits) -> Iterator[Result]:
    """As a program, in a quarter of the time."""
    for text in inputs:
        done = code.sandbox().script(request["program"], stdin=text, limits=limits)
        yield _of_step(done.last) if done.last else (done.verdict, None, done.detail)


def _of_step(step: Step) -> Result:
    return step.verdict, same(step.stdout.text) if step.verdict == "accepted" else None, step.detail


def _call_function(request: Any, inputs: Sequence[str], limits: Limits) -> Iterator[Result]:
    for text in inputs:
        done = code.sandbox().call(
            request["program"], request["entry_point"], ast.literal_eval(text), limits=limits
        )
        try:
            output = key(done.value) if done.verdict == "accepted" else None
            yield done.verdict, output, done.detail
        except ValueError as error:  # an integer too long to write down
            yield "output_limit", None, str(error)
