"""From what was observed of a program to a verdict on it."""

import base64
import signal
from collections.abc import Sequence
from typing import Any

from verifiers.sandbox.execution import Execution, Output, Step, Test
from verifiers.sandbox.inside.process import signal_name

OUT_OF_TIME = ("time_cpu", "time_wall")


def execution(
    reply: dict[str, Any], requests: Sequence[dict], tests: Sequence[Test], **common: Any
) -> Execution:
    """One Step a result; a test that never ran gets the verdict that kept it from running."""
    num_before = len(requests) - len(tests)
    expected = [None] * num_before + [test.expected_stdout for test in tests]
    steps = [
        _step(result, request, output)
        for result, request, output in zip(reply["steps"], requests, expected, strict=False)
    ]
    if "failed" in reply or not steps:
        detail = reply.get("failed", "nothing ran")
        steps.append(Step("run", "sandbox_error", detail=detail))
    bad = next((step for step in steps if step.verdict != "accepted"), None)
    decisive = bad or steps[-1]
    done = steps[num_before : num_before + len(tests)]
    left = _not_run([test.id for test in tests[len(done) :]], steps[-1].verdict)
    return Execution(
        decisive.verdict,
        decisive.stage,
        last=decisive,
        tests=tuple(done + left),
        steps=tuple(steps),
        detail=decisive.detail,
        **common,
    )


def examination(reply: dict[str, Any], ids: Sequence[str], **common: Any) -> Execution:
    """One Step a test of the warm engine's."""
    done = [Step("run", **conclusion) for conclusion in reply.get("tests", ())]
    if "failed" in reply or not ids:
        detail = reply.get("failed", "there are no tests")
        verdict = "sandbox_error" if "failed" in reply else "harness_error"
        done.append(Step("run", verdict, detail=detail))
    decisive = next((step for step in done if step.verdict != "accepted"), done[-1])
    tests = tuple(done + _not_run(ids[len(done) :], done[-1].verdict))
    return Execution(
        decisive.verdict, "run", decisive, tests, tuple(done), detail=decisive.detail, **common
    )


def _not_run(ids: Sequence[str], verdict: str) -> list[Step]:
    return [Step("run", verdict, id=name, detail="did not run") for name in ids]


def same_output(output: str, expected: str) -> bool:
    """Equal but for trailing spaces of lines and trailing empty lines."""
    return _lines(output) == _lines(expected)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _step(result: dict[str, Any], request: dict[str, Any], expected: str | None) -> Step:
    truncated = result.get("stopped") == "output_limit"
    stdout = Output(base64.b64decode(result.get("stdout", "")), truncated)
    stderr = Output(base64.b64decode(result.get("stderr", "")), truncated)
    verdict, detail = verdict_of(result, request)
    if verdict == "accepted" and expected is not None and not same_output(stdout.text, expected):
        verdict = "wrong_answer"
    return Step(
        request["stage"],
        verdict,
        id=request["id"],
        exit_code=result.get("exit_code"),
        signal=result.get("signal"),
        cpu_s=result.get("cpu_s", 0.0),
        wall_s=result.get("wall_s", 0.0),
        memory_peak_bytes=result.get("memory_peak_bytes", 0),
        oom_kill=bool(result.get("oom_kills")),
        stdout=stdout,
        stderr=stderr,
        detail=detail,
    )


def verdict_of(result: dict[str, Any], request: dict[str, Any]) -> tuple[str, str]:
    """The verdict and a word on it, without regard to the output."""
    number = result.get("signal")
    if result.get("exit_code") == 0 and result.get("stopped") is None:
        return "accepted", ""
    if result.get("oom_kills"):
        return "memory", f"more than {request['memory_bytes']} bytes"
    if "failed" in result:
        return "sandbox_error", result["failed"]
    if result["stopped"] is not None:
        return result["stopped"], f"stopped after {result['wall_s']:.2f} s"
    if _ran_out_of_cpu(result, request):
        return "time_cpu", f"more than {request['cpu_s']:g} s of processor time"
    if number == signal.SIGXFSZ:
        return "file_limit", f"a file of more than {request['file_bytes']} bytes"
    if number == signal.SIGSYS:
        return "seccomp", "a forbidden system call"
    if result.get("forks_refused"):
        return "pids_limit", f"more than {request['processes']} processes"
    if request["stage"] == "compile":
        return "compile_error", ""
    if request["stage"] == "check":
        return "static_error", ""
    if number is not None:
        return "signal", signal_name(number)
    return "runtime_error", f"exit code {result['exit_code']}"


def _ran_out_of_cpu(result: dict[str, Any], request: dict[str, Any]) -> bool:
    if result.get("signal") == signal.SIGXCPU or result.get("exit_code") == 128 + signal.SIGXCPU:
        return True  # a shell or a build tool passes it on in its own exit code
    # The kernel kills by counting ticks, and may count up to twice what it then says was used.
    return result.get("signal") == signal.SIGKILL and result["cpu_s"] >= 0.5 * request["cpu_s"]
