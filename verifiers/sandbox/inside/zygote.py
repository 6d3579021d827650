"""Forks children that are ready to run Python at once, each in a sandbox of its own.

It runs inside a bubblewrap sandbox and never sees a job: the keeper passes descriptors, and only
the child reads from them what to do. Every child is the first process of a new pid namespace, has
its own mounts, /tmp, /proc, System V IPC, network and host name, and gives up all rights before it
runs foreign code. All it starts ends with it.
"""

import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys

import confine
import examine
import landlock
import messages
import roles
import seccomp

_AT_HAND = (
    *("bisect", "collections", "copy", "datetime", "enum", "functools", "heapq", "itertools"),
    *("math", "operator", "random", "re", "string", "typing"),
)
"""Imported once, so that no job pays for it. Not `threading`: a fork with it costs half as much
again."""

_ROLES = {
    "script": roles.script,
    "call": roles.call,
    "candidate": examine.candidate,
    "examiner": examine.examiner,
}
_OURS = ("confine", "examine", "landlock", "messages", "plain", "roles", "seccomp")
_MAX_FDS = 8
_MAX_OPEN = 1024
_NO_SPECIALS = confine.NO_SUID | confine.NO_DEVICES


def main():
    keeper = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    settings = json.loads(sys.argv[1])
    walls = _Walls(**settings)
    _warm_up()
    keeper.send(b"ready")
    _serve(keeper, walls)


def _serve(keeper, walls):
    """Fork when asked to, a child for each descriptor that comes, and report each child's end."""
    poll = select.poll()
    poll.register(keeper, select.POLLIN)
    children = {}
    num_forks = 0
    while True:
        for fd, _ in poll.poll():
            if fd in children:
                keeper.send(_report(*children.pop(fd)))
                poll.unregister(fd)
                os.close(fd)
                continue
            request, controls, _, _ = socket.recv_fds(keeper, 1, _MAX_FDS)
            if not request:
                return  # the keeper is gone
            for control in controls:
                pid = walls.fork(control)
                os.close(control)
                ended = os.pidfd_open(pid)
                poll.register(ended, select.POLLIN)
                children[ended] = num_forks, pid
                num_forks += 1


def _report(number, pid):
    _, status, usage = os.wait4(pid, 0)
    cpu_s = usage.ru_utime + usage.ru_stime
    return json.dumps([number, status, cpu_s, usage.ru_maxrss * 1024]).encode()


class _Walls:
    """What stands between a child and all else; by level, see Isolation.

    readable: files and folders, where no namespace hides the others.
    """

    def __init__(self, level, readable):
        self.level = level
        self.readable = readable
        self.filter = seccomp.program(sockets=False)
        self.home = _settle() if level >= 2 else None

    def fork(self, control):
        if self.level >= 2:
            confine.unshare("pid")
        pid = os.fork()
        if pid == 0:
            self._live(control)
        if self.level >= 2:
            confine.enter_namespace(self.home)
        return pid

    def _live(self, control):
        """The child; never returns. First it waits for its job."""
        try:
            os.closerange(2, control)
            os.closerange(control + 1, _MAX_OPEN)
            os.dup2(0, 2)
            os.write(control, b"h")  # with it the kernel tells the keeper our pid
            if self.level >= 2:
                confine.unshare("mount", "ipc", "uts")
                confine.mount("proc", "/proc", "proc", _NO_SPECIALS | confine.NO_EXEC)
            else:
                confine.parent_death_signal(signal.SIGKILL)
            job, fds = _receive(control)
            self._confine(job)
            os.write(control, b"r")
        except BaseException as error:
            try:
                os.write(control, f"f{type(error).__name__}: {error}"[:500].encode())
            finally:
                os._exit(126)
        try:
            _ROLES[job["role"]](job, control, *fds)
        finally:
            os._exit(125)

    def _confine(self, job):
        """Give up everything."""
        if self.level >= 2:
            size = f"size={job['disk_bytes']},mode=1777"
            confine.mount("tmpfs", "/tmp", "tmpfs", _NO_SPECIALS, size)
            confine.mount("/tmp", "/dev/shm", "", confine.BIND)
        else:
            os.setsid()
            os.environ["HOME"] = os.environ["TMPDIR"] = job["folder"]
            os.chdir(job["folder"])
        confine.set_limits(**job["rlimits"])
        # Process 1 of a namespace ignores SIGXCPU, so SIGKILL has to come when that would.
        soft, _ = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, soft))
        confine.drop_capabilities()
        if self.level == 1:
            landlock.restrict(read=self.readable, write=[job["folder"], os.devnull])
        if self.level >= 1:
            seccomp.install(self.filter)
        sys.path[0] = os.getcwd()
        for name in _OURS:
            del sys.modules[name]


def _receive(control):
    """The job and its descriptors. The keeper sends them once we are in the job's cgroup."""
    ours = socket.socket(fileno=control)
    _, fds, _, _ = socket.recv_fds(ours, 1, _MAX_FDS)
    ours.detach()
    job = messages.read_message(control)
    if job is None:
        os._exit(0)  # the keeper is gone
    return job, fds


def _settle():
    """Into a pid namespace that belongs to us, so that we may come back to it after each fork.

    Bubblewrap's own belongs to a user namespace above. Also closes what a child could leave
    something in for the next one. Returns a descriptor of the namespace.
    """
    confine.unshare("pid", "mount")
    if pid := os.fork():
        os.closerange(0, 64)
        os.waitpid(pid, 0)
        os._exit(1)
    confine.mount("", "/", "", confine.RECURSIVE | confine.PRIVATE)
    confine.mount("proc", "/proc", "proc", _NO_SPECIALS | confine.NO_EXEC)
    for folder in ("/dev", "/out"):
        confine.mount(
            "", folder, "", confine.REMOUNT | confine.BIND | confine.READ_ONLY | _NO_SPECIALS
        )
    return os.open("/proc/self/ns/pid", os.O_RDONLY)


def _warm_up():
    """What is used here is not set up once more in each child."""
    for name in _AT_HAND:
        importlib.import_module(name)
    confine.no_new_privs()
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    main()
