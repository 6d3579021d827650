"""A bubblewrap started ahead of time, that waits for the rest of its command line.

To fork a Python process, become bubblewrap and have it linked takes as long as all the walls it
then builds. Done while nobody waits, for the command and limits of the job before, it costs no job
anything. Where the next job is of another kind, a new bubblewrap is started for it.
"""

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from verifiers.sandbox import bubblewrap
from verifiers.sandbox.inside import confine, landlock, process, seccomp
from verifiers.sandbox.slot import Slot


class Shape(NamedTuple):
    """What has to be known of a job ahead of time.

    limits: arguments of confine.set_limits, as pairs. trusted: the command is our own, and gets a
    pipe as stdin and the right to mount.
    """

    command: tuple[str, ...]
    num_files: int
    limits: tuple[tuple[str, Any], ...]
    trusted: bool


@dataclass
class Sandboxed:
    """One bubblewrap and our ends of what leads to it; `stdin` is a memory file or a pipe."""

    shape: Shape
    pid: int
    arguments: int
    stdin: int
    stdout: int
    stderr: int
    status: int
    files: list[int]

    def close(self) -> None:
        for fd in (self.arguments, self.stdin, self.stdout, self.stderr, self.status, *self.files):
            if fd >= 0:
                os.close(fd)


class Standby:
    """Starts commands in sandboxes, as the slot's user and in its cgroup."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._shape: Shape | None = None
        self._waiting: Sandboxed | None = None

    def prepare(self) -> None:
        """Start a bubblewrap like the last one, unless one is waiting."""
        if self._waiting is None and self._shape is not None:
            self._waiting = self._spawn(self._shape)
            self._slot.kept.add(self._waiting.pid)

    def start(
        self,
        command: Sequence[str],
        files: Mapping[str, bytes],
        *,
        stdin: bytes | None,
        limits: Mapping[str, Any] | None,
        trusted: bool = False,
        **interior: Any,
    ) -> Sandboxed:
        """Run `command` with these files inside; the caller closes what it gets.

        stdin: None for a pipe. limits: arguments of confine.set_limits. interior: arguments of
        bubblewrap.interior. Raises OSError if it can't be started.
        """
        shape = Shape(tuple(command), len(files), tuple((limits or {}).items()), trusted)
        sandboxed = self._take(shape)
        self._shape = shape
        try:
            _tell(sandboxed, files, stdin, interior)
        except BaseException:
            sandboxed.close()
            raise
        return sandboxed

    def _take(self, shape: Shape) -> Sandboxed:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._slot.kept.discard(waiting.pid)
            if waiting.shape == shape and _is_running(waiting.pid):
                return waiting
            os.kill(waiting.pid, signal.SIGKILL)
            os.waitpid(waiting.pid, 0)
            waiting.close()
        return self._spawn(shape)

    def _spawn(self, shape: Shape) -> Sandboxed:
        sandboxed = _spawn(shape, self._slot)
        if self._slot.group is not None:  # ahead of time too: now and then it takes milliseconds
            self._slot.group.enter(sandboxed.pid)
        return sandboxed


def _tell(
    sandboxed: Sandboxed, files: Mapping[str, bytes], stdin: bytes | None, interior: dict[str, Any]
) -> None:
    if stdin is not None:
        process.fill(sandboxed.stdin, stdin)
    for fd, data in zip(sandboxed.files, files.values(), strict=True):
        process.fill(fd, data)
    paths = dict(zip(files, sandboxed.files, strict=True))
    rest = b"".join(os.fsencode(word) + b"\0" for word in bubblewrap.interior(paths, **interior))
    with contextlib.suppress(BrokenPipeError):  # it has died, and says why on stderr
        while rest:
            rest = rest[os.write(sandboxed.arguments, rest) :]
    os.close(sandboxed.arguments)
    sandboxed.arguments = -1


def _is_running(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _spawn(shape: Shape, slot: Slot) -> Sandboxed:
    with ExitStack() as theirs, ExitStack() as ours:

        def pipe(owner: int | None = None) -> tuple[int, int]:
            """The end for us to read and the end for it to write."""
            read, write = os.pipe()
            ours.callback(os.close, read)
            theirs.callback(os.close, write)
            if owner is not None:
                os.fchown(write, owner, -1)  # or a program could not open /dev/stdout
            return read, write

        def pipe_in() -> tuple[int, int]:
            read, write = os.pipe()
            theirs.callback(os.close, read)
            ours.callback(os.close, write)
            return read, write

        def memory() -> int:
            fd = process.memory_file()
            ours.callback(os.close, fd)
            return fd

        out, out_end = pipe(slot.uid)
        err, err_end = pipe(slot.uid)
        status, status_end = pipe()
        arguments_end, arguments = pipe_in()
        if shape.trusted:
            stdin_end, stdin = pipe_in()
            filter_fd = None
        else:
            stdin_end = stdin = memory()
            filter_fd = process.sealed(_filter())
            theirs.callback(os.close, filter_fd)
        files = [memory() for _ in range(shape.num_files)]
        line = bubblewrap.walls(trusted=shape.trusted, seccomp_fd=filter_fd, status_fd=status_end)
        line += ["--args", str(arguments_end), "--", *shape.command]
        inherited = [fd for fd in (arguments_end, status_end, filter_fd, *files) if fd is not None]
        for fd in inherited:
            os.set_inheritable(fd, True)

        def in_child() -> None:
            if shape.limits:
                confine.set_limits(**dict(shape.limits))
            slot.drop_root()
            landlock.scope()
            # Bubblewrap asks for the same, but the keeper may be killed before it does.
            confine.parent_death_signal(signal.SIGKILL)

        try:
            pid = process.start(line, {}, (stdin_end, out_end, err_end), in_child=in_child)
        finally:
            for fd in inherited:
                os.set_inheritable(fd, False)
        ours.pop_all()
    return Sandboxed(shape, pid, arguments, stdin, out, err, status, files)


@cache
def _filter() -> bytes:
    return seccomp.program()
