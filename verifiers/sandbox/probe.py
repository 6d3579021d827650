"""Which walls really stand on this machine, found out by attacking them.

A sandbox that starts is not yet one that isolates. So at each level, from the highest down, a
program tries to read a file of the host's, to connect to a port of the host's, and to open a
kernel setting for writing; all three have to fail, and the program has to come to its end.
"""

import base64
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from verifiers.sandbox import bare, bubblewrap, cgroups
from verifiers.sandbox.execution import MIB
from verifiers.sandbox.inside import landlock, seccomp

_ATTACKS = """
import json, socket, sys
def refused(attack):
    try:
        attack()
    except OSError:
        return True
    return False
print(json.dumps({
    "ran": sys.argv[3],
    "a file of the host's can be read": not refused(lambda: open(sys.argv[1]).read(1)),
    "a port of the host's can be reached":
        not refused(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])), 0.5)),
    "a kernel setting can be written": not refused(lambda: open("/proc/sys/kernel/hostname", "w")),
}))
"""
_MIN_LANDLOCK_ABI = 4  # the first to know TCP
_REMEDY = "apt-get install bubblewrap"


def run(max_level: int, execute: Callable[[dict], dict]) -> dict[str, Any]:
    """The highest level whose walls hold, as fields of Isolation.

    execute: carries out a job, as keeper.execute.
    """
    reasons = []
    for level in range(max_level, 0, -1):
        missing = _missing(level) or _breach(level, execute)
        if not missing:
            return _isolation(level, "; ".join(reversed(reasons)))
        reasons.append(f"level {level}: {missing}")
    return _isolation(0, "; ".join(reversed(reasons)))


def _missing(level: int) -> str | None:
    """What this level needs and the machine does not have."""
    if shutil.which("python3", path=bubblewrap.PATH) is None:
        return f"there is no python3 in {bubblewrap.PATH} (apt-get install python3)"
    if level == 3 and cgroups.available() is None:
        return cgroups.why()
    if level >= 2 and bubblewrap.program() is None:
        return f"bubblewrap is not installed ({_REMEDY})"
    if level == 1 and landlock.abi() < _MIN_LANDLOCK_ABI:
        return f"the kernel's Landlock ABI is {landlock.abi()}, and {_MIN_LANDLOCK_ABI} is needed"
    return None


def _breach(level: int, execute: Callable[[dict], dict]) -> str | None:
    """What the attacks got through to, or why they did not run."""
    nonce = secrets.token_hex(8)
    with _canaries() as (path, port):
        job = {
            "level": level,
            "files": {"probe.py": base64.b64encode(_ATTACKS.encode()).decode()},
            "file": "probe.py",
            "stem": "probe",
            "mounts": [],
            "env": {},
            "steps": [
                {
                    "stage": "run",
                    "command": ["python3", "-I", "-S", "{file}"],
                    "args": [path, str(port), nonce],
                    "stdin": "",
                    "wall_s": 20.0,
                    "cpu_s": 5.0,
                    "memory_bytes": 256 * MIB,
                    "address_space_limit": True,
                    "processes": 64,
                    "output_bytes": MIB,
                    "disk_bytes": MIB,
                    "file_bytes": MIB,
                    "open_files": 64,
                    "stack_bytes": 8 * MIB,
                }
            ],
        }
        outcome = execute(job)
    if "failed" in outcome:
        return outcome["failed"]
    result = outcome["steps"][0]
    if "failed" in result:
        return f"{result['failed']} ({_hint(result['failed'])})"
    try:
        found = json.loads(base64.b64decode(result["stdout"]))
    except ValueError:
        shown = base64.b64decode(result["stderr"]).decode("utf-8", "replace")
        return f"the probe ended without a word: {shown.strip()[-300:]}"
    if found.pop("ran") != nonce:
        return "the probe's answer is not its own"
    return ", ".join(breach for breach, happened in found.items() if happened) or None


def _hint(failure: str) -> str:
    if "namespace" in failure or "uid map" in failure or "Operation not permitted" in failure:
        return (
            "this machine lets ordinary users make no user namespaces: in Docker, start it with "
            "--security-opt seccomp=unconfined --security-opt apparmor=unconfined; on Ubuntu, "
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    return _REMEDY


@contextlib.contextmanager
def _canaries() -> Iterator[tuple[str, int]]:
    """A file that everybody on this machine can read, and a port that everybody can reach."""
    with (
        tempfile.TemporaryDirectory(prefix=f"{bare.PREFIX}{os.getpid()}-") as folder,
        socket.socket() as port,
    ):
        os.chmod(folder, 0o755)
        path = Path(folder, "canary")
        path.write_text("canary")
        path.chmod(0o644)
        port.bind(("127.0.0.1", 0))
        port.listen(1)
        yield str(path), port.getsockname()[1]


def _isolation(level: int, why_not_more: str) -> dict[str, Any]:
    filter_bytes = seccomp.program(sockets=level >= 2) if level else b""
    return {
        "level": level,
        "cgroup": cgroups.available() if level == 3 else None,
        "bubblewrap": bubblewrap.version() if level >= 2 else None,
        "landlock_abi": landlock.abi() if level else 0,
        "seccomp": hashlib.sha256(filter_bytes).hexdigest()[:16] if level else None,
        "why_not_more": why_not_more,
    }
