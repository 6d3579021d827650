"""The warm engine: Python code in a sandbox within a few milliseconds.

Scripts, calls of one function, and unit tests; each in a fresh child of a zygote (`zygote.py`).
"""

import base64
import json
import os
import signal
import socket
from contextlib import ExitStack
from typing import Any

from verifiers.sandbox import judge
from verifiers.sandbox.inside import plain, process
from verifiers.sandbox.job import encoded
from verifiers.sandbox.slot import Slot
from verifiers.sandbox.zygote import Child, Zygote

_MAX_FINDING_BYTES = 1 << 16


class Engine:
    """Runs requests in `slot`, one at a time."""

    def __init__(self, slot: Slot, level: int) -> None:
        self._slot = slot
        self._zygote = Zygote(slot, level)

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """What came of the request; {"failed": why} if the sandbox itself did.

        role: "script", "call" or "examine", which say below what else they take. limits: by the
        names of `Limits`, with wall_s.
        """
        role = {"script": self._script, "call": self._call, "examine": self._examine}
        step = {"stage": "run", "address_space_limit": True, **request["limits"]}
        try:
            return role[request["role"]](request, step)
        except (OSError, ValueError, LookupError) as error:
            detail = f"{type(error).__name__}: {error}; {self._zygote.complaint()}"
            self._zygote.close()
            return {"failed": detail[:500]}

    def idle(self) -> None:
        """Get ready for the next request while nobody waits."""
        try:
            self._zygote.prepare()
        except OSError:
            self._zygote.close()

    def close(self) -> None:
        self._zygote.close()

    def _script(self, request: dict, step: dict) -> dict[str, Any]:
        """Run `source` on stdin (base64) and args; {"steps": [result]}, as the cold engine does."""
        job = {"source": request["source"], "args": request.get("args", [])}
        with ExitStack() as stack:
            stdin = process.sealed(base64.b64decode(request.get("stdin", "")))
            stack.callback(os.close, stdin)
            out, out_end = _pipe(stack, self._slot.uid)
            err, err_end = _pipe(stack, self._slot.uid)
            child = Child("script", job, [stdin, out_end, err_end])
            self._zygote.start(stack, step, child)
            (_, stdout, stderr), (result,) = self._zygote.watch(step, [child], (out, err))
        result = {**result, "stdout": stdout, "stderr": stderr}
        return {"steps": [{**encoded(result), **self._zygote.usage(result)}]}

    def _call(self, request: dict, step: dict) -> dict[str, Any]:
        """Call `function` of `source` with args and kwargs, both encoded by `plain`.

        A conclusion (see `_concluded`); with the value, encoded, if the verdict is "accepted".
        """
        job = {name: request[name] for name in ("source", "function", "args", "kwargs")}
        child = Child("call", job)
        with ExitStack() as stack:
            self._zygote.start(stack, step, child)
            allowed = {**step, "output_bytes": plain.MAX_BYTES}
            (answer,), (result,) = self._zygote.watch(allowed, [child])
        result |= self._zygote.usage(result)
        verdict, detail = judge.verdict_of(result, step)
        if verdict != "accepted":
            return _concluded(verdict, detail, result)
        verdict, detail, value = _answered(answer)
        return {**_concluded(verdict, detail, result), "value": value}

    def _examine(self, request: dict, step: dict) -> dict[str, Any]:
        """Examine `solution` by each of `tests` ({"id", "code"}), in fresh processes each time.

        entry_points: names of the functions that the tests call, the first also as `candidate`.
        setup, call: code that runs before and after each test's, on the tests' side. Gives
        {"tests": conclusions with id} (see `_concluded`), up to the first that ran out of time.
        """
        conclusions: list[dict[str, Any]] = []
        for test in request["tests"]:
            conclusion = self._examine_once(request, test["code"], step)
            conclusions.append({"id": test["id"], **conclusion})
            if conclusion["verdict"] in judge.OUT_OF_TIME:
                break
        return {"tests": conclusions}

    def _examine_once(self, request: dict, test: str, step: dict) -> dict[str, Any]:
        names = {"entry_points": request["entry_points"]}
        tests = {"setup": request.get("setup", ""), "test": test, "call": request.get("call", "")}
        with ExitStack() as stack:
            ends = [stack.enter_context(end) for end in socket.socketpair()]
            one, other = ([end.fileno()] for end in ends)
            examiner = Child("examiner", {**names, **tests}, one, counted=False)
            candidate = Child("candidate", {**names, "source": request["solution"]}, other)
            self._zygote.start(stack, step, examiner, candidate)
            for end in ends:
                end.close()  # so that each of the two learns of the other one's end
            allowed = {**step, "output_bytes": _MAX_FINDING_BYTES}
            (finding,), (examined, result) = self._zygote.watch(allowed, [examiner, candidate])
        result |= self._zygote.usage(result)
        return _concluded(*_judge(finding, examined, result, step), result)


def _pipe(stack: ExitStack, owner: int | None) -> tuple[int, int]:
    """Both ends; the second belongs to `owner`, so that it may open /dev/stdout."""
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    if owner is not None:
        os.fchown(ends[1], owner, -1)
    return ends


def _answered(answer: bytes) -> tuple[str, str, Any]:
    """Verdict, detail and encoded value. The answer is whatever the program made of it."""
    try:
        content = json.loads(answer)
        for verdict in ("compile_error", "runtime_error"):
            if verdict in content:
                return verdict, str(content[verdict])[:300], None
        plain.decode(content["value"])
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        return "runtime_error", f"ended without an answer that can be read: {error}"[:300], None
    return "accepted", "", content["value"]


def _judge(finding: bytes, examined: dict, result: dict, step: dict) -> tuple[str, str]:
    """Verdict and detail, from what the examiner found and how the two processes ended."""
    if result["stopped"] is not None:
        return judge.verdict_of(result, step)
    try:
        found = json.loads(finding)
    except ValueError:  # the examiner itself has died
        verdict, detail = judge.verdict_of(examined, step)
        if verdict == "time_cpu":
            return verdict, f"{detail}, by the tests"
        return "harness_error", f"the tests ended their own process: {verdict} {detail}"
    if found["verdict"] != "died":
        return found["verdict"], found["detail"]
    verdict, detail = judge.verdict_of(result, step)
    if verdict == "accepted":
        return "runtime_error", "the program ended when it should have answered"
    if verdict == "signal" and result["signal"] == signal.SIGKILL:
        return verdict, "the program no longer answered"
    return verdict, detail


def _concluded(verdict: str, detail: str, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "detail": detail,
        "cpu_s": result["cpu_s"],
        "wall_s": result["wall_s"],
        "memory_peak_bytes": result["memory_peak_bytes"],
        "oom_kill": bool(result.get("oom_kills")),
    }
