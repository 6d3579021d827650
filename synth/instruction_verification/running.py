"""Functions on responses, in the sandbox."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.flow.verdicts import OUT_OF_TIME, PASSING
from synth.flow.window import Window
from verifiers import Limits, code
from verifiers.sandbox.execution import UNDECIDED

INSIDE = Path(__file__).with_name("inside.py").read_text(encoding="utf-8")

MAX_HANGS = 2
"""After so many responses without an end a function is not run on any more."""


@dataclass(frozen=True)
class Seen:
    """What a function said of a response. follows: None unless the verdict is "accepted"."""

    verdict: str
    follows: bool | None
    detail: str = ""

    @property
    def is_undecided(self) -> bool:
        """Whether it says nothing about the function either."""
        return self.verdict in UNDECIDED


@dataclass(frozen=True)
class Run:
    """A function on all its responses, and the isolation level that it ran in."""

    seen: Sequence[Seen]
    isolation: int


def run(
    window: Window, step: str, requests: Sequence[tuple[str, Sequence[str]]], settings: Any
) -> list[Run]:
    """For each pair of a function's source and responses what the function says of them.

    Responses of one function share a process unless one of them kills it, so a function may
    influence itself from one to the next, but no other.
    """
    results = window.compute(
        step,
        observed,
        [
            {"function": source, "responses": list(responses), "cpu_s": settings.cpu_s}
            for source, responses in requests
        ],
        keeps=lambda result: all(one[0] not in PASSING for one in result["seen"]),
    )
    return [Run([Seen(*one) for one in r["seen"]], r["isolation"]) for r in results]


def combined(sources: Sequence[str]) -> str:
    """One source for the verifier `function` (see `inside.evaluate`)."""
    listed = "".join(f"    {source!r},\n" for source in sources)
    return f"{INSIDE}\n\nSOURCES = [\n{listed}]\n"


def observed(requests: Sequence[Any]) -> list[Any]:
    """Of each `{function, responses, cpu_s}` what is `seen`, and the `isolation`."""
    with ThreadPoolExecutor(code.sandbox().workers) as threads:
        return list(threads.map(_observe, requests))


def _observe(request: Any) -> dict[str, Any]:
    limits = Limits(cpu_s=request["cpu_s"])
    seen = _seen(request["function"], request["responses"], limits)
    return {"seen": seen, "isolation": code.sandbox().isolation.level}


Result = list[Any]
"""Verdict, what the function says, and a detail."""


def _seen(source: str, responses: Sequence[str], limits: Limits) -> list[Result]:
    """In one process; one by one if that is killed."""
    call = code.sandbox().call(INSIDE, "judge", [source, list(responses)], limits=limits)
    if call.verdict == "accepted":
        return _read(call.value, len(responses))
    if call.verdict in UNDECIDED or len(responses) == 1:
        return [[call.verdict, None, call.detail]] * len(responses)
    seen: list[Result] = []
    hangs = 0
    for response in responses:
        if hangs == MAX_HANGS:
            seen.append([seen[-1][0], None, "did not run"])
        else:
            seen += _seen(source, [response], limits)
            hangs += seen[-1][0] in OUT_OF_TIME
    return seen


def _read(value: Any, number: int) -> list[Result]:
    """What `inside.judge` returned, unless the function has meddled with it."""
    if isinstance(value, list) and len(value) == number and all(map(_is_result, value)):
        return value
    return [["runtime_error", None, "the results can't be read"]] * number


def _is_result(one: Any) -> bool:
    match one:
        case ["accepted", bool(), str()]:
            return True
        case ["compile_error" | "runtime_error" | "not_bool", None, str()]:
            return True
    return False
