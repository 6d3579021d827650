"""Where bubblewrap can't be had: each step in a temporary folder of the host's, no namespaces.

At level 1 Landlock confines the program to that folder and to /usr, seccomp takes its sockets, and
rlimits bound each process. At level 0 nothing but rlimits does.
"""

import base64
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from verifiers.sandbox import bubblewrap
from verifiers.sandbox.inside import confine, landlock, process, seccomp
from verifiers.sandbox.job import argv, each, encoded, limit, rlimits, sources
from verifiers.sandbox.slot import Slot

PREFIX = "align-sandbox-"

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc")
_DEVICES = ("/dev/urandom", "/dev/random", "/dev/zero")
READABLE = (*_SYSTEM, *_DEVICES, *bubblewrap.BASE_MOUNTS)


class Engine:
    """Runs jobs in `slot`."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def run(self, job: dict[str, Any], results: list[dict]) -> None:
        """Carry out the job's steps; one result for each that ran is appended to `results`."""
        with _places(job, self._slot) as places:
            each(job, lambda step: _step(step, job, self._slot, places), results)

    def idle(self) -> None:
        """Nothing is prepared ahead here."""


def _step(step: dict, job: dict, slot: Slot, places: dict[str, str]) -> dict[str, Any]:
    usage = limit(slot, step)
    _make(places["tmp"], slot)
    home = {"HOME": places["tmp"], "TMPDIR": places["tmp"]}
    stdin = process.sealed(base64.b64decode(step["stdin"]))
    try:
        result = process.run(
            lambda standard: process.start(
                argv(step, job, **places),
                {**bubblewrap.ENVIRONMENT, **job["env"], **home},
                standard,
                cwd=places["w"],
                in_child=lambda: _enter(step, job, slot, places),
            ),
            stdin=stdin,
            wall_s=step["wall_s"],
            output_bytes=step["output_bytes"],
            kill=lambda pid: os.kill(pid, 9),
            owner=slot.uid,
        )
    except process.NotExecutable as error:
        if not step["command"][0].startswith("{out}"):
            return {"failed": str(error)}
        result = process.not_executable(error)
    except OSError as error:
        return {"failed": str(error)}
    finally:
        os.close(stdin)
        slot.sweep()
        remove(places["tmp"])
    return {**encoded(result), **usage(result)}


def _enter(step: dict, job: dict, slot: Slot, places: dict[str, str]) -> None:
    os.setsid()
    confine.set_limits(**rlimits(step, slot))
    slot.enter()
    confine.no_new_privs()
    if job["level"] == 1:
        read = [*READABLE, *job["mounts"], places["w"], places["out"]]
        out = [places["out"]] if step["stage"] == "compile" else []
        landlock.restrict(read=read, write=[*out, places["tmp"], "/dev/null"])
        seccomp.install(seccomp.program(sockets=False))


@contextmanager
def _places(job: dict, slot: Slot) -> Iterator[dict[str, str]]:
    """Folders for the sources, the compiler's output and the program's files; then gone."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    try:
        folder.chmod(0o755)
        places = {name: str(folder / name) for name in ("w", "out", "tmp")}
        os.mkdir(places["w"])
        _make(places["out"], slot)
        for path, data in sources(job, places["w"]).items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(data)
        yield places
    finally:
        remove(folder)


def sweep() -> None:
    """Remove folders whose keeper no longer exists: killed, it could not remove them itself."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            remove(folder)


def _make(folder: str, slot: Slot) -> None:
    os.mkdir(folder)
    if slot.uid is not None:
        os.chown(folder, slot.uid, slot.uid)


def remove(folder: str | Path) -> None:
    """By programs that go down any depth and follow no link: the tree is a stranger's work."""
    quiet = {"stderr": subprocess.DEVNULL, "check": False}
    if os.geteuid() != 0:  # root needs no permission
        subprocess.run(["chmod", "-R", "u+rwx", str(folder)], **quiet)
    subprocess.run(["rm", "-rf", str(folder)], **quiet)
