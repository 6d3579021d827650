"""Control groups: one job's memory, processes and CPU time limited, counted and ended as a whole.

Every group is nested under the group that this process is in, so outer limits hold. Both versions
of the kernel's interface do; their files are in `cgroup_files`.
"""

import errno
import os
import re
import signal
import time
from contextlib import suppress
from functools import cache

from verifiers.sandbox.cgroup_files import Counters, read, version

_NAME = re.compile(r"align-(?P<pid>\d+)-(?P<started>\d+)-(?P<pid_namespace>\d+)-.+")


def available() -> str | None:
    """ "v1" or "v2" once a group has been made, limited, entered by a child, ended and removed.

    None where that fails; `why` says at what. Asked of the kernel once per process.
    """
    return _probe()[0]


def why() -> str:
    """Why there are no groups here and what to do; "" where they work."""
    return _probe()[1]


class Group:
    """One group, with a folder of its own in every hierarchy that is used.

    The name carries this process's id, start time and pid namespace, by which `sweep` knows groups
    whose owner is gone. All methods raise OSError.
    """

    def __init__(self, name: str) -> None:
        self._at = version()(f"align-{_identity(os.getpid())}-{name}")
        self._limits: tuple[int, int] | None = None
        self._at.create()
        self._before = self._at.counters()

    def set(self, memory_bytes: int, processes: int) -> None:
        """Limit memory (swap included) and the number of processes and threads at one time."""
        if self._limits != (memory_bytes, processes):
            self._at.limit(memory_bytes, processes)
            self._limits = (memory_bytes, processes)

    def enter(self, pid: int = 0) -> None:
        """Put a process into the group, 0 for the caller; what it starts from then on is in it.

        A forked child calls it before it gives up its user and its view of the file system.
        """
        self._at.enter(pid)

    def pids(self) -> list[int]:
        """Ids of the processes in the group, as this process knows them."""
        return self._at.pids()

    def usage(self) -> Counters:
        """What the group has used since it was made or reset.

        memory_peak_bytes (None before Linux 5.19 on version 2), oom_kills (processes killed for
        want of memory), cpu_s (None where version 1 has no cpuacct), forks_refused (at the limit).
        """
        now = self._at.counters()
        since = {name: _minus(value, self._before[name]) for name, value in now.items()}
        return {"memory_peak_bytes": self._at.peak(), **since}

    def reset(self) -> None:
        """Count from zero for the next job.

        Where the kernel can't do that for the peak of memory, a group that is empty is made anew,
        and one that is not keeps the peak it has.

        File pages that an earlier job read may still be charged; the kernel drops them at need.
        """
        if not self._at.reset_peak() and not self.pids():
            self._at.remove()
            self._at.create()
            if self._limits:
                self._at.limit(*self._limits)
        self._before = self._at.counters()

    def kill(self, wait_s: float = 5.0) -> None:
        """End every process in the group; returns when none is left, or raises TimeoutError."""
        self._at.kill(wait_s)

    def remove(self) -> None:
        """Remove the group, which has to be empty."""
        self._at.remove()


def sweep() -> int:
    """End and remove the groups left by processes that are gone; says how many.

    Leaves alone what was made in another pid namespace, where our process ids mean nothing.
    """
    here = version()
    names = {name for home in here.homes() for name in os.listdir(home) if _abandoned(name)}
    for name in names:
        left = here(name)
        with suppress(FileNotFoundError):  # somebody else sweeps too
            left.kill(wait_s=5.0)
        left.remove()
    return len(names)


@cache
def _probe() -> tuple[str | None, str]:
    try:
        group = Group("probe")
    except OSError as error:
        return None, _explain(error)
    try:
        group.set(64 << 20, 16)
        _try_with_a_child(group)
        group.usage()
    except OSError as error:
        return None, _explain(error)
    finally:
        with suppress(OSError):
            group.remove()
    return version().name, ""


def _try_with_a_child(group: Group) -> None:
    child = os.fork()
    if child == 0:
        try:
            group.enter()
            time.sleep(60)
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(0)
    try:
        deadline = time.monotonic() + 5
        while group.pids() != [child]:
            ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended or time.monotonic() > deadline:
                reason = os.strerror(ended.si_status) if ended else "no answer within 5 s"
                raise OSError(errno.EPERM, f"a child process can't enter its group: {reason}")
            time.sleep(0.0005)
        group.kill()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _explain(error: OSError) -> str:
    with suppress(OSError):
        return f"no control groups ({version().name}): {error}; {version().remedy}"
    return f"no control groups: {error}"


@cache
def _identity(pid: int) -> str:
    return f"{pid}-{_started(pid)}-{os.stat('/proc/self/ns/pid').st_ino}"


def _abandoned(name: str) -> bool:
    match = _NAME.fullmatch(name)
    if not match or int(match["pid_namespace"]) != os.stat("/proc/self/ns/pid").st_ino:
        return False
    try:
        return _started(int(match["pid"])) != match["started"]
    except OSError:
        return True


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot: field 22 of /proc/<pid>/stat."""
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19]


def _minus(value: int | float | None, before: int | float | None) -> int | float | None:
    return None if value is None or before is None else value - before
