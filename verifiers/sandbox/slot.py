"""One place to run foreign programs in, one after another: a user, a cgroup, and a broom.

Belongs to a keeper process, which runs nothing else: whatever that process has as a child, beside
those it keeps, is left over from a job.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from verifiers.sandbox import cgroups
from verifiers.sandbox.inside import confine

FIRST_UID = 61184
NUM_UIDS = 4096
"""Uids that no package and no person gets: the range that systemd hands out for a moment too."""

_PATIENCE_S = 5.0


class Slot:
    """uid: what a job runs as; None when this process is no root and jobs run as its own user.
    group: the jobs' cgroup, or None where there is none to be had. namespaces: whether jobs get
    namespaces of their own, the users' among them.
    """

    def __init__(self, use_cgroup: bool, namespaces: bool = True) -> None:
        confine.subreaper()
        self._namespaces = namespaces
        self.uid = FIRST_UID + os.getpid() % NUM_UIDS if os.geteuid() == 0 else None
        self.group = cgroups.Group("job") if use_cgroup and cgroups.available() else None
        self.kept: set[int] = set()

    @property
    def user(self) -> int:
        """The uid that jobs run as."""
        return os.geteuid() if self.uid is None else self.uid

    def num_others(self) -> int:
        """Threads of the user's own, where the kernel's limit counts them along with a job's."""
        if self._namespaces or self.uid is not None:
            return 0
        return sum(map(_num_threads, filter(str.isdigit, os.listdir("/proc"))))

    def enter(self) -> None:
        """In the child that becomes a job: into the cgroup, and away from root."""
        if self.group is not None:
            self.group.enter()
        self.drop_root()

    def drop_root(self) -> None:
        if self.uid is not None:
            confine.drop_user(self.uid, self.uid)

    def sweep(self) -> tuple[float, int]:
        """Kill and reap all that a job left: its CPU seconds, and the bytes of its largest process.

        Ends this keeper if something will not die: the next one gets another user and cgroup.
        """
        deadline = time.monotonic() + _PATIENCE_S
        cpu_s, rss_bytes = 0.0, 0
        while children := self._children():
            for pid in _stopped(children):
                _send(pid, signal.SIGKILL)
            for pid in children:
                _, _, usage = os.wait4(pid, 0)
                cpu_s += usage.ru_utime + usage.ru_stime
                rss_bytes = max(rss_bytes, usage.ru_maxrss * 1024)
            if time.monotonic() > deadline:
                sys.exit(f"processes that will not die: {sorted(children)}")
        if self.group is not None and self.group.pids():
            self.group.kill()
        return cpu_s, rss_bytes

    def _children(self) -> set[int]:
        """Orphans among a job's processes are children too: this process is their subreaper."""
        return _children(os.getpid()) - self.kept

    def close(self) -> None:
        self.kept.clear()
        self.sweep()
        if self.group is not None:
            self.group.remove()


def _stopped(pids: set[int]) -> set[int]:
    """These and all they started, stopped: a fork bomb would outrun whoever kills it one by one."""
    found: set[int] = set()
    while new := pids - found:
        for pid in new:
            _send(pid, signal.SIGSTOP)
        found |= new
        pids = set().union(*map(_children, found))
    return found


def _children(pid: int) -> set[int]:
    """Of all its threads. The kernel's list may miss some while others end; ask again then."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found.update(map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split()))
    return found


def _num_threads(pid: str) -> int:
    try:
        ours = os.stat(f"/proc/{pid}").st_uid == os.geteuid()
        return len(os.listdir(f"/proc/{pid}/task")) if ours else 0
    except FileNotFoundError:
        return 0


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
