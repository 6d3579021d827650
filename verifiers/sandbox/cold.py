"""The cold engine: a fresh bubblewrap sandbox for each job, for programs in any language.

A job of one step (a script and its input) is the program straight under bubblewrap. A job of
several (a compilation, a program on many tests) has `inside/driver.py` in between, so that the
sandbox is built once.
"""

import base64
import contextlib
import os
import shutil
import signal
import time
from functools import cache
from pathlib import Path
from typing import Any

from verifiers import messages
from verifiers.sandbox import bubblewrap
from verifiers.sandbox.inside import process
from verifiers.sandbox.job import argv, each, encoded, limit, rlimits, sources
from verifiers.sandbox.slot import Slot
from verifiers.sandbox.standby import Sandboxed, Standby

INSIDE = "/run/align"
DRIVER = ("python3", "-S", "-E", "-s", f"{INSIDE}/driver.py")

_PLACES = {"w": bubblewrap.SOURCES, "out": bubblewrap.OUT, "tmp": bubblewrap.TMP}
_DRIVER_MARGIN_S = 10.0
_FOR_THE_DRIVER = ("stage", "stdin", "wall_s", "output_bytes", "disk_bytes")


class Engine:
    """Runs jobs in `slot`."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._standby = Standby(slot)

    def idle(self) -> None:
        """Get ready for the next job while nobody waits."""
        self._standby.prepare()

    def run(self, job: dict[str, Any], results: list[dict]) -> None:
        """Carry out the job's steps; one result for each that ran is appended to `results`."""
        if len(job["steps"]) == 1 and (self._slot.group is not None or _prlimit()):
            results.append(_direct(job, job["steps"][0], self._slot, self._standby))
        else:
            _driven(job, self._slot, self._standby, results)


def _direct(job: dict, step: dict, slot: Slot, standby: Standby) -> dict[str, Any]:
    usage = limit(slot, step)
    limits = rlimits(step, slot)
    command = argv(step, job, **_PLACES)
    if (processes := limits.pop("processes", None)) is not None:
        # Set outside, it would count all that the user runs, and not only the job.
        command = [_prlimit(), f"--nproc={processes}", *command]
    started = time.monotonic()
    sandboxed = standby.start(
        command,
        sources(job, bubblewrap.SOURCES),
        stdin=base64.b64decode(step["stdin"]),
        limits=limits,
        mounts=job["mounts"],
        env=job["env"],
        disk_bytes=step["disk_bytes"],
    )
    with contextlib.closing(sandboxed):
        result = process.finish(
            sandboxed.pid,
            (sandboxed.stdout, sandboxed.stderr),
            started + step["wall_s"],
            step["output_bytes"],
            # With bubblewrap dies process 1 of its namespace, and with that all others.
            kill=lambda pid: os.kill(pid, signal.SIGKILL),
        )
        # Most of the job's use is told by process 1 of its namespace, which this process inherits.
        cpu_s, rss_bytes = slot.sweep()
        result["cpu_s"] += cpu_s
        result["rss_bytes"] = max(result["rss_bytes"], rss_bytes)
        # bubblewrap tells of an exit only if it came as far as to start the program.
        came_to_run = b'"exit-code"' in _read_now(sandboxed.status)
    if result["stopped"] is None and not came_to_run:
        return {**encoded(result), "failed": _shown(result["stderr"])}
    if 128 < (result["exit_code"] or 0) <= 128 + signal.SIGRTMAX:  # bubblewrap's word for a signal
        result["signal"], result["exit_code"] = result["exit_code"] - 128, None
    return {**encoded(result), **usage(result)}


@cache
def _prlimit() -> str | None:
    return shutil.which("prlimit", path=bubblewrap.PATH)


def _driven(job: dict, slot: Slot, standby: Standby, results: list[dict]) -> None:
    limit(slot, job["steps"][0])
    driver = standby.start(
        DRIVER,
        {**handed_in("driver"), **sources(job, bubblewrap.SOURCES)},
        stdin=None,
        limits=None,
        trusted=True,
        mounts=job["mounts"],
        env=job["env"],
        disk_bytes=max(step["disk_bytes"] for step in job["steps"]),
    )
    with contextlib.closing(driver):
        each(job, lambda step: _ask(step, job, slot, driver), results)


def _ask(step: dict, job: dict, slot: Slot, driver: Sandboxed) -> dict[str, Any]:
    """The driver's result for one step."""
    usage = limit(slot, step)
    request = {
        "argv": argv(step, job, **_PLACES),
        "env": {**bubblewrap.ENVIRONMENT, **job["env"]},
        "limits": rlimits(step, slot),
        **{name: step[name] for name in _FOR_THE_DRIVER},
    }
    try:
        messages.write_message(driver.stdin, request)
        deadline = time.monotonic() + step["wall_s"] + _DRIVER_MARGIN_S
        result = messages.read_message(driver.stdout, deadline)
    except TimeoutError:
        result = {"failed": "the driver does not answer"}
    except BrokenPipeError:
        result = None
    if result is None:
        result = {"failed": f"the driver has died: {_shown(_read_now(driver.stderr))}"}
    return {**result, **usage(result)}


def handed_in(*names: str) -> dict[str, bytes]:
    """Our own files for use inside: these entry points, and what they import."""
    inside = Path(process.__file__).parent
    paths = [inside / f"{name}.py" for name in ("confine", "process", "seccomp", *names)]
    paths.append(Path(messages.__file__))
    return {f"{INSIDE}/{path.name}": path.read_bytes() for path in paths}


def _read_now(fd: int) -> bytes:
    """What is in a pipe by now."""
    os.set_blocking(fd, False)
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""


def _shown(error: bytes) -> str:
    return error.decode("utf-8", "replace").strip()[:500]
