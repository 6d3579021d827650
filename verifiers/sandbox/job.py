"""The request that a keeper gets for a program, as each engine reads it.

A job has: level; files (base64 by name), file and stem of the main source; mounts; env; and steps.
A step has: stage; command (format strings) and args; stdin (base64); and its limits by the names of
`Limits`, with wall_s, and address_space_limit for runtimes that bear one.
"""

import base64
from collections.abc import Callable
from typing import Any

from verifiers.sandbox import judge
from verifiers.sandbox.slot import Slot


def argv(step: dict, job: dict, *, w: str, out: str, tmp: str) -> list[str]:
    """The command with the places filled in: sources in `w`, compiler output in `out`."""
    names = {"file": f"{w}/{job['file']}", "stem": job["stem"], "out": out, "w": w, "tmp": tmp}
    return [part.format(**names) for part in step["command"]] + step["args"]


def sources(job: dict, w: str) -> dict[str, bytes]:
    """Content by path."""
    return {f"{w}/{name}": base64.b64decode(data) for name, data in job["files"].items()}


def rlimits(step: dict, slot: Slot) -> dict[str, Any]:
    """Arguments of confine.set_limits. Without a cgroup, memory and processes are among them."""
    limits = {name: step[name] for name in ("cpu_s", "file_bytes", "open_files", "stack_bytes")}
    if slot.group is None:
        limits["processes"] = step["processes"] + slot.num_others()
        kind = "address_space" if step["address_space_limit"] else "data"
        limits[kind] = step["memory_bytes"]
    return limits


def limit(slot: Slot, step: dict) -> Callable[[dict], dict]:
    """Set the cgroup's limits for a step; returns what tells the step's use of it afterwards."""
    group = slot.group
    if group is None:
        return lambda result: {"memory_peak_bytes": result.get("rss_bytes", 0)}
    group.set(memory_bytes=step["memory_bytes"], processes=step["processes"])
    group.reset()
    return lambda result: group.usage()


def encoded(result: dict[str, Any]) -> dict[str, Any]:
    """A result of process.run, fit for JSON."""
    streams = ("stdout", "stderr")
    return {**result, **{s: base64.b64encode(result[s]).decode() for s in streams}}


def each(job: dict, step: Callable[[dict], dict], results: list[dict]) -> None:
    """The steps in order, each result appended, up to the first that makes the rest pointless.

    That is a compilation that fails. And a test that runs out of time: a program that hangs on one
    hangs on most, and would take its time for each.
    """
    for request in job["steps"]:
        results.append(step(request))
        verdict, _ = judge.verdict_of(results[-1], request)
        if verdict in judge.OUT_OF_TIME or (
            request["stage"] == "compile" and verdict != "accepted"
        ):
            return
