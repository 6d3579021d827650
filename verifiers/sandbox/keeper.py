"""A worker process that runs jobs in its slot, one at a time.

Small, single-threaded, and started by exec: forking it costs the same however large the process of
whoever uses the sandbox has grown. As root it stays root, for the cgroups; no foreign program does.
"""

import atexit
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from verifiers.sandbox import bare, cgroups, cold, probe, warm
from verifiers.sandbox.slot import Slot


class _Level:
    """The slot for jobs of one level, and the engines that use it."""

    def __init__(self, level: int) -> None:
        self.slot = Slot(use_cgroup=level == 3, namespaces=level >= 2)
        self.cold = cold.Engine(self.slot) if level >= 2 else bare.Engine(self.slot)
        self.warm = warm.Engine(self.slot, level)

    def close(self) -> None:
        self.warm.close()
        self.slot.close()


_levels: dict[int, _Level] = {}
_owner = os.getppid()
_LOOK_AFTER_OWNER_S = 0.5


def prepare() -> None:
    os.umask(0o022)  # the slot's user has to read what is laid out for it
    sweep()
    atexit.register(_close)
    signal.signal(signal.SIGALRM, _look_after_owner)


def sweep() -> None:
    """Remove what keepers that were killed have left behind."""
    bare.sweep()
    with suppress(OSError):  # no control groups here, or none that this user may touch
        cgroups.sweep()


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """{"op": "probe" | "run" | "warm", ...} and what came of it."""
    signal.setitimer(signal.ITIMER_REAL, _LOOK_AFTER_OWNER_S, _LOOK_AFTER_OWNER_S)
    try:
        return _handle(request)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _look_after_owner(*_: object) -> None:
    """Between jobs the end of its requests ends a keeper; within one, nothing else would."""
    if os.getppid() != _owner:
        sys.exit()


def _close() -> None:
    for level in _levels.values():
        level.close()


def _handle(request: dict[str, Any]) -> dict[str, Any]:
    if request["op"] == "probe":
        isolation = probe.run(request["max_level"], execute)
        return {**isolation, "uid": _at(isolation["level"]).slot.user}
    if request["op"] == "warm":
        place = _at(request["level"])
        reply = place.warm.run(request)
        if request["level"] < 2:  # else all ended with its pid namespace
            place.slot.sweep()
        return reply
    return execute(request)


def idle() -> None:
    for level in _levels.values():
        level.cold.idle()
        level.warm.idle()


def execute(job: dict[str, Any]) -> dict[str, Any]:
    """{"steps": one result for each step that ran}; "failed" if the sandbox itself did."""
    place = _at(job["level"])
    results: list[dict[str, Any]] = []
    failed = {}
    try:
        place.cold.run(job, results)
    except (OSError, ValueError, LookupError) as error:
        failed = {"failed": f"{type(error).__name__}: {error}"[:500]}
    place.slot.sweep()
    return {"steps": results, **failed}


def _at(level: int) -> _Level:
    if level not in _levels:
        _levels[level] = _Level(level)
    return _levels[level]
