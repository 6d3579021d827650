"""The two versions of the kernel's control groups: which files there are, and where.

Version 1 keeps a tree of groups for each controller, version 2 a single one.
"""

import errno
import os
import signal
import time
from contextlib import suppress
from functools import cache
from typing import ClassVar

Counters = dict[str, int | float | None]

_REMOVE_S = 1.0
"""A group whose last process has just ended may still be busy for some milliseconds."""


class Folders:
    """A group by name, whether it exists or not; what is alike in both versions."""

    folders: list[str]

    def create(self) -> None:
        for i, folder in enumerate(self.folders):
            try:
                os.mkdir(folder)
            except OSError:
                for made in self.folders[:i]:
                    os.rmdir(made)
                raise

    def enter(self, pid: int) -> None:
        for folder in self.folders:
            _write(f"{folder}/cgroup.procs", str(pid))

    def pids(self) -> list[int]:
        found = set()
        for folder in self.folders:
            with suppress(FileNotFoundError):
                found.update(map(int, read(f"{folder}/cgroup.procs").split()))
        return sorted(found)

    def kill(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        pause = 0.0002
        while pids := self.pids():
            if os.getpid() in pids:
                raise OSError(errno.EINVAL, f"this process is in the group {self.folders[0]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes {pids} did not end within {wait_s} s")
            self.signal_all(pids)
            time.sleep(pause)
            pause = min(2 * pause, 0.02)

    def signal_all(self, pids: list[int]) -> None:
        for pid in pids:
            if pid > 0:  # 0 stands for one that this pid namespace can't see; to kill(), for us all
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        deadline = time.monotonic() + _REMOVE_S
        for folder in self.folders:
            while True:
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(0.001)


class V1(Folders):
    name = "v1"
    remedy = "run as root, or have root make groups your user owns in memory, pids and freezer"
    _USED: ClassVar = ("memory", "pids", "cpuacct", "freezer")

    def __init__(self, name: str) -> None:
        at = {controller: f"{home}/{name}" for controller, home in self._homes().items()}
        self._memory, self._pids = at["memory"], at["pids"]
        self._cpu, self._freezer = at.get("cpuacct"), at.get("freezer")
        self.folders = list(dict.fromkeys(at.values()))  # controllers may share a tree

    @classmethod
    def homes(cls) -> set[str]:
        return set(cls._homes().values())

    @classmethod
    def _homes(cls) -> dict[str, str]:
        own = _own_folders()
        return {controller: own[controller] for controller in cls._USED if controller in own}

    def limit(self, memory_bytes: int, processes: int) -> None:
        memory = f"{self._memory}/memory.limit_in_bytes"
        with_swap = f"{self._memory}/memory.memsw.limit_in_bytes"
        files = [memory, with_swap] if os.path.exists(with_swap) else [memory]
        try:
            _write(memory, str(memory_bytes))
        except OSError as error:  # memory's limit may never be above the one with swap
            if error.errno != errno.EINVAL:
                raise
            files.reverse()
        for file in files:
            _write(file, str(memory_bytes))
        _write(f"{self._pids}/pids.max", str(processes))

    def counters(self) -> Counters:
        cpu = int(read(f"{self._cpu}/cpuacct.usage")) / 1e9 if self._cpu else None
        return {
            "oom_kills": _field(f"{self._memory}/memory.oom_control", "oom_kill"),
            "cpu_s": cpu,
            "forks_refused": _field(f"{self._pids}/pids.events", "max"),
        }

    def peak(self) -> int:
        return int(read(f"{self._memory}/memory.max_usage_in_bytes"))

    def reset_peak(self) -> bool:
        _write(f"{self._memory}/memory.max_usage_in_bytes", "0")
        return True

    def signal_all(self, pids: list[int]) -> None:
        """Frozen, a fork bomb can't outrun its killer; the signals arrive at the thaw."""
        if not self._freezer:
            return super().signal_all(pids)
        state = f"{self._freezer}/freezer.state"
        _write(state, "FROZEN")
        try:
            for _ in range(10):
                if read(state).strip() == "FROZEN":
                    break
                time.sleep(0.001)
            super().signal_all(self.pids())
        finally:
            _write(state, "THAWED")


class V2(Folders):
    name = "v2"
    remedy = "run as root, or under `systemd-run --user --scope -p Delegate=yes`"

    def __init__(self, name: str) -> None:
        self._folder = f"{_unified_home()}/{name}"
        self.folders = [self._folder]
        self._peak: int | None = None

    @classmethod
    def homes(cls) -> set[str]:
        return {_unified_home()}

    def create(self) -> None:
        super().create()
        # A reset holds only for the open file it was written to, so this one stays open.
        with suppress(FileNotFoundError):
            try:
                self._peak = os.open(f"{self._folder}/memory.peak", os.O_RDWR | os.O_CLOEXEC)
            except PermissionError:  # before Linux 6.12 it is for reading only
                self._peak = os.open(f"{self._folder}/memory.peak", os.O_RDONLY | os.O_CLOEXEC)

    def remove(self) -> None:
        if self._peak is not None:
            os.close(self._peak)
            self._peak = None
        super().remove()

    def limit(self, memory_bytes: int, processes: int) -> None:
        _write(f"{self._folder}/memory.max", str(memory_bytes))
        with suppress(FileNotFoundError):
            _write(f"{self._folder}/memory.swap.max", "0")
        _write(f"{self._folder}/pids.max", str(processes))

    def counters(self) -> Counters:
        return {
            "oom_kills": _field(f"{self._folder}/memory.events", "oom_kill"),
            "cpu_s": _field(f"{self._folder}/cpu.stat", "usage_usec") / 1e6,
            "forks_refused": _field(f"{self._folder}/pids.events", "max"),
        }

    def peak(self) -> int | None:
        return None if self._peak is None else int(os.pread(self._peak, 64, 0))

    def reset_peak(self) -> bool:
        if self._peak is None:
            return True
        try:
            os.write(self._peak, b"0")
        except OSError:
            return False
        return True

    def signal_all(self, pids: list[int]) -> None:
        try:
            _write(f"{self._folder}/cgroup.kill", "1")
        except FileNotFoundError:  # before Linux 5.14
            _write(f"{self._folder}/cgroup.freeze", "1")
            super().signal_all(self.pids())
            _write(f"{self._folder}/cgroup.freeze", "0")


@cache
def version() -> type[V1] | type[V2]:
    own = _own_folders()
    if {"memory", "pids"} <= own.keys():
        return V1
    if "" in own:
        return V2
    raise OSError(errno.ENOENT, "this process's own control group is in no mounted hierarchy")


@cache
def _own_folders() -> dict[str, str]:
    """Controller -> folder of the group that this process is in; "" for version 2's one tree."""
    paths = {}
    with open("/proc/self/cgroup") as lines:
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path))
    own = {}
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            mount, _, system = line.partition(" - ")
            root, point = mount.split()[3:5]
            kind, _, options = system.split()[:3]
            for controller in {"cgroup": options.split(","), "cgroup2": [""]}.get(kind, []):
                # A container may see only a part of the tree, with its own group as the root.
                path, prefix = paths.get(controller), root.rstrip("/")
                if path is not None and f"{path}/".startswith(f"{prefix}/"):
                    own[controller] = (point + path.removeprefix(prefix)).rstrip("/")
    return own


@cache
def _unified_home() -> str:
    """The folder to make groups in. Only a group without processes may have limited children.

    So: under our own group where that works at once; else beside it, if that escapes no limit of
    ours; else under it after all, once all its processes, if they are our user's, have moved into
    a child of it.
    """
    own = _own_folders()[""]
    missing = {"memory", "pids"} - set(read(f"{own}/cgroup.controllers").split())
    if missing:
        raise OSError(errno.ENOTSUP, f"{own} has no controller {' and '.join(sorted(missing))}")
    try:
        _write(f"{own}/cgroup.subtree_control", "+memory +pids")
        return own
    except OSError as error:
        refused = error
    beside = os.path.dirname(own)
    writable = all(os.access(path, os.W_OK) for path in (beside, f"{beside}/cgroup.procs"))
    if writable and all(read(f"{own}/{name}.max").strip() == "max" for name in ("memory", "pids")):
        return beside
    if refused.errno != errno.EBUSY:
        raise refused
    _move_members_down(own)
    return own


def _move_members_down(own: str) -> None:
    members = read(f"{own}/cgroup.procs").split()
    if not all(map(_is_ours, members)):
        raise OSError(errno.EBUSY, "only a group without processes may have limited children", own)
    below = f"{own}/align-members-{os.getpid()}"
    os.mkdir(below)
    try:
        for pid in members:
            with suppress(ProcessLookupError):
                _write(f"{below}/cgroup.procs", pid)
        _write(f"{own}/cgroup.subtree_control", "+memory +pids")
    except OSError:
        for pid in read(f"{below}/cgroup.procs").split():
            _write(f"{own}/cgroup.procs", pid)
        os.rmdir(below)
        raise


def _is_ours(pid: str) -> bool:
    try:
        return pid != "0" and os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except FileNotFoundError:
        return True  # has ended


def _field(file: str, key: str) -> int:
    for line in read(file).splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    raise OSError(errno.ENOTSUP, f"the kernel is too old: no '{key}'", file)


def read(file: str) -> str:
    opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(opened, 65536), b"")).decode()
    finally:
        os.close(opened)


def _write(file: str, text: str) -> None:
    """In one call: the kernel takes each as a value of its own."""
    opened = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(opened, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} when writing '{text}'", file) from None
    finally:
        os.close(opened)
