"""The keeper's hold on a zygote (`inside/zygote.py`) and on the children it forks.

The zygote waits inside a bubblewrap sandbox and forks a child for each job, in new namespaces of
its own. The keeper puts the child into the job's cgroup, hands it the job over a socket that only
the two of them have, and holds the clock. Where there is no bubblewrap the zygote runs without, and
a child confines itself as the bare engine's programs are confined.
"""

import json
import math
import os
import signal
import socket
import struct
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verifiers import messages
from verifiers.sandbox import bare, bubblewrap, cgroups, cold
from verifiers.sandbox.inside import confine, landlock, process
from verifiers.sandbox.job import rlimits
from verifiers.sandbox.slot import Slot

MAX_CHILDREN = 10_000
"""So many, then a new zygote."""

_FILES = ("zygote", "roles", "examine", "plain", "landlock")
_START_S = 60.0
_READY_S = 30.0
_OWN_MEMORY_BYTES, _OWN_PROCESSES = 2 << 30, 256  # of the zygote and of the examiners it forks
_CPU_PRECISION = 0.8  # the kernel watches the limit by clock ticks, and reports by the clock
_CREDENTIALS = struct.Struct("3i")  # struct ucred


@dataclass
class Child:
    """What to make of a fork: its role, the job it reads, and the descriptors it gets.

    counted: whether it belongs to the job's cgroup; one that judges does not.
    """

    role: str
    job: dict[str, Any]
    fds: list[int] = field(default_factory=list)
    counted: bool = True
    fork: "_Fork | None" = None


class _Fork:
    """A child of the zygote's that waits for its job.

    number: which one of the zygote's it is, from 0. control: our end of the socket to it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.pidfd = -1
        self.control, self.theirs = socket.socketpair()
        self.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def meet(self) -> int:
        """Wait until it is there; its pid, which stays valid as long as it waits for its job."""
        hello, ancillary, _, _ = self.control.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
        if not hello:
            raise OSError("the zygote could not fork")
        pid, _, _ = _CREDENTIALS.unpack(ancillary[0][2])
        self.pidfd = os.pidfd_open(pid)
        return pid

    def wait_until_ready(self) -> None:
        """Until nothing lies between it and foreign code. Raises OSError if it is not confined."""
        self.control.settimeout(_READY_S)
        if self.control.recv(1) != b"r":
            why = self.control.recv(1000).decode("utf-8", "replace")
            raise OSError(f"a child could not be confined: {why}")

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        self.control.close()
        self.theirs.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)


class Zygote:
    """Forks children into `slot`. Starts when first needed, and anew after MAX_CHILDREN."""

    def __init__(self, slot: Slot, level: int) -> None:
        self._slot = slot
        self._level = level
        self._errors = -1
        self._socket: socket.socket | None = None
        self._group: cgroups.Group | None = None
        self._running = ExitStack()  # what there is of a zygote; to close it is to end it
        self._num_forks = 0
        self._waiting: dict[bool, _Fork] = {}  # by whether it belongs to the group

    def start(self, stack: ExitStack, step: dict, *children: Child) -> None:
        """Set the children to work under the step's limits. Raises OSError.

        What they need is released with `stack`.
        """
        if self._socket is None or self._num_forks + len(children) > MAX_CHILDREN:
            self._start()
        self._order(children)
        self.prepare()
        if self._group is not None:
            self._group.set(memory_bytes=step["memory_bytes"], processes=step["processes"])
        for child in children:
            child.fork = self._waiting.pop(child.counted)
            stack.callback(child.fork.close)
            socket.send_fds(child.fork.control, [b"j"], child.fds)
            job = {**child.job, "role": child.role, **self._settings(stack, step, child)}
            messages.write_message(child.fork.control.fileno(), job)
        self._order(children)  # for the next job, forked while this one runs
        for child in children:
            child.fork.wait_until_ready()

    def prepare(self) -> None:
        """Put those who wait for the next job into its group. Raises OSError.

        The kernel may take its time over that; done before the job comes, it costs no one any.
        """
        for counted, fork in self._waiting.items():
            if fork.pidfd < 0:
                pid = fork.meet()
                if counted and self._group is not None:
                    self._group.reset()
                    self._group.enter(pid)

    def usage(self, result: dict[str, Any]) -> dict[str, Any]:
        """What the job used that has just ended, as its group or else its result tells."""
        if self._group is None:
            return {"memory_peak_bytes": result["rss_bytes"]}
        usage = self._group.usage()
        return {
            **usage,
            "cpu_s": max(result["cpu_s"], usage["cpu_s"] or 0.0),
            "memory_peak_bytes": usage["memory_peak_bytes"] or result["rss_bytes"],
        }

    def watch(
        self, step: dict, children: list[Child], pipes: tuple[int, ...] = ()
    ) -> tuple[list[bytes], list[dict[str, Any]]]:
        """What comes by the first child's control socket and the pipes until that child ends.

        With it end all the others. Also what became of each child: a dict as process.run's, without
        the streams.
        """
        started = time.monotonic()
        forks = [child.fork for child in children]
        data, stopped = process.watch(
            forks[0].pidfd,
            (forks[0].control.fileno(), *pipes),
            started + step["wall_s"],
            step["output_bytes"],
            lambda: [fork.kill() for fork in forks],
        )
        ended = {"wall_s": time.monotonic() - started, "stopped": stopped}
        results = [{**report, **ended} for report in self._reports(forks)]
        for result in results:
            used_up = result["cpu_s"] > _CPU_PRECISION * math.ceil(step["cpu_s"])
            if used_up and result["signal"] == signal.SIGKILL and stopped is None:
                result["signal"] = int(signal.SIGXCPU)  # see inside/zygote.py
        return data, results

    def close(self) -> None:
        """End the zygote and all that it has forked."""
        self._socket, self._errors = None, -1
        for fork in self._waiting.values():
            fork.close()
        self._waiting.clear()
        self._running.close()

    def complaint(self) -> str:
        """What a zygote that failed has written."""
        try:
            return os.read(self._errors, 4096).decode("utf-8", "replace").strip()[-300:]
        except OSError:
            return ""

    def _order(self, children: tuple[Child, ...]) -> None:
        forks = []
        for child in children:
            if child.counted not in self._waiting:
                forks.append(_Fork(self._num_forks))
                self._num_forks += 1
                self._waiting[child.counted] = forks[-1]
        if forks:
            socket.send_fds(self._socket, [b"f"], [fork.theirs.fileno() for fork in forks])
        for fork in forks:
            fork.theirs.close()

    def _reports(self, forks: list[_Fork]) -> list[dict[str, Any]]:
        """How each of them ended, as the zygote tells."""
        reports: dict[int, dict[str, Any]] = {}
        numbers = [fork.number for fork in forks]
        while len(reports) < len(forks):
            number, status, cpu_s, rss_bytes = json.loads(self._receive(_READY_S))
            if number not in numbers:
                raise OSError("a child died before it had a job")
            code = os.waitstatus_to_exitcode(status)
            reports[number] = {
                "exit_code": code if code >= 0 else None,
                "signal": -code if code < 0 else None,
                "cpu_s": cpu_s,
                "rss_bytes": rss_bytes,
            }
        return [reports[number] for number in numbers]

    def _settings(self, stack: ExitStack, step: dict, child: Child) -> dict[str, Any]:
        limits = rlimits(step, self._slot)
        if not child.counted:
            limits |= {"processes": step["processes"], "address_space": step["memory_bytes"]}
        settings = {"rlimits": limits, "disk_bytes": step["disk_bytes"]}
        if self._level < 2:
            settings["folder"] = _folder(stack, self._slot)
        return settings

    def _start(self) -> None:
        self.close()
        self._num_forks = 0
        own = None
        if self._slot.group is not None:
            own, self._group = cgroups.Group("zygote"), cgroups.Group("warm")
            self._running.callback(own.remove)
            self._running.callback(self._group.remove)
            own.set(_OWN_MEMORY_BYTES, _OWN_PROCESSES)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._running.enter_context(self._socket)
        self._errors, errors_end = os.pipe()
        os.set_blocking(self._errors, False)
        self._running.callback(os.close, self._errors)
        with ExitStack() as stack:
            stack.callback(os.close, errors_end)
            standard = (stack.enter_context(theirs).fileno(), errors_end, errors_end)
            argv, env = self._command(stack)
            pid = process.start(argv, env, standard, in_child=lambda: self._enter(own))
        self._slot.kept.add(pid)
        self._running.callback(self._end, pid, own)
        self._receive(_START_S)

    def _command(self, stack: ExitStack) -> tuple[list[str], dict[str, str]]:
        # The same order of sets in every run, for the same verdict.
        env = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        settings = json.dumps({"level": self._level, "readable": bare.READABLE})
        files = cold.handed_in(*_FILES)
        if self._level >= 2:
            fds = {path: process.sealed(data) for path, data in files.items()}
            for fd in fds.values():
                stack.callback(os.close, fd)
                os.set_inheritable(fd, True)
            line = bubblewrap.walls(trusted=True)
            line += bubblewrap.interior(fds, env=env, disk_bytes=1 << 20)
            return [*line, "--", "python3", "-s", f"{cold.INSIDE}/zygote.py", settings], {}
        folder = Path(_folder(self._running, self._slot))
        for path, data in files.items():
            (folder / Path(path).name).write_bytes(data)
        argv = ["python3", "-s", str(folder / "zygote.py"), settings]
        return argv, {**bubblewrap.ENVIRONMENT, **env}

    def _enter(self, own: cgroups.Group | None) -> None:
        """In the child that becomes the zygote."""
        if own is not None:
            own.enter()
        self._slot.drop_root()
        landlock.scope()
        confine.parent_death_signal(signal.SIGKILL)

    def _end(self, pid: int, own: cgroups.Group | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._slot.kept.discard(pid)
        for group in (own, self._group):
            if group is not None:
                group.kill()
        self._slot.sweep()  # what bubblewrap had as children are now ours

    def _receive(self, wait_s: float) -> bytes:
        self._socket.settimeout(wait_s)
        message = self._socket.recv(1 << 16)
        if not message:
            raise OSError("the zygote is dead")
        return message


def _folder(stack: ExitStack, slot: Slot) -> str:
    """A temporary folder of the slot's user, removed with `stack`."""
    folder = tempfile.mkdtemp(prefix=f"{bare.PREFIX}{os.getpid()}-")
    stack.callback(_remove, folder)
    if slot.uid is not None:
        os.chown(folder, slot.uid, slot.uid)
    return folder


def _remove(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        bare.remove(folder)  # starts programs, so only for what was left behind
