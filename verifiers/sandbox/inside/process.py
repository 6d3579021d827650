"""Run one program and watch it: its output, its clock, its end.

Used outside the sandbox on bubblewrap itself and inside it on each test; so this file stands alone.
"""

import errno
import fcntl
import os
import select
import signal
import time

_CHUNK = 1 << 16
_CANNOT_EXECUTE = 126
_NOT_EXECUTABLE = (errno.EACCES, errno.ENOENT, errno.ENOEXEC, errno.EISDIR, errno.ELOOP)
_EXEC = b"x"  # in front of an error that the program's file is to blame for


class NotExecutable(OSError):
    """The file that was to be run is none that can be."""


def run(start, *, stdin, wall_s, output_bytes, kill, owner=None):
    """Start a program, watch it to its end or until it passes a limit, and end what it leaves.

    start: called with the descriptors of stdin, stdout and stderr, gives the pid; `start` below
    with its other arguments, mostly. kill: called with the pid once the program has ended or must
    end; has to kill everything that it started. owner: the uid that the pipes should belong to, so
    that a program of that user can open /dev/stdout.

    Returns a dict: exit_code, signal (one is None), cpu_s, wall_s, rss_bytes, stdout, stderr
    (bytes), stopped ("time_wall", "output_limit" or None). Raises OSError if the program can't be
    started.
    """
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    try:
        if owner is not None:
            os.fchown(out_end, owner, -1)
            os.fchown(err_end, owner, -1)
        started = time.monotonic()
        try:
            pid = start((stdin, out_end, err_end))
        finally:
            os.close(out_end)
            os.close(err_end)
        return finish(pid, (out, err), started + wall_s, output_bytes, kill)
    finally:
        os.close(out)
        os.close(err)


def finish(pid, pipes, deadline, output_bytes, kill):
    """Watch a program that has just been started, and wait for it; what `run` returns."""
    started = time.monotonic()
    ended = os.pidfd_open(pid)
    try:
        (stdout, stderr), stopped = watch(ended, pipes, deadline, output_bytes, lambda: kill(pid))
    finally:
        os.close(ended)
    wall_s = time.monotonic() - started
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return {
        "exit_code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": wall_s,
        "rss_bytes": usage.ru_maxrss * 1024,
        "stdout": stdout,
        "stderr": stderr,
        "stopped": stopped,
    }


def start(argv, env, standard, cwd=None, in_child=None):
    """Fork and become `argv`; what fails in the child before that is raised here as OSError.

    standard: descriptors for stdin, stdout and stderr. in_child: called just before the exec.
    Raises NotExecutable if it is the file that can't be executed.
    """
    error_read, error_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        ready = False
        try:
            # Above all that is inherited on purpose; close-on-exec, so success closes it.
            for target, fd in enumerate(standard):
                os.dup2(fd, target)
            default_signals()
            if in_child is not None:
                in_child()
            if cwd is not None:
                os.chdir(cwd)
            ready = True
            os.execvpe(argv[0], argv, env)
        except BaseException as error:
            blame_file = ready and getattr(error, "errno", None) in _NOT_EXECUTABLE
            kind = _EXEC if blame_file else b" "
            os.write(error_write, kind + f"{argv[0]}: {error}"[:1000].encode())
        finally:
            os._exit(127)
    os.close(error_write)
    with open(error_read, "rb") as errors:
        failure = errors.read()
    if failure:
        os.waitpid(pid, 0)
        kind = NotExecutable if failure.startswith(_EXEC) else OSError
        raise kind(failure[1:].decode(errors="replace"))
    return pid


def not_executable(error):
    """The result where a compilation left something that can't be executed: that is no failure of
    the sandbox's, and a program must not be able to pass for one.
    """
    return {
        "exit_code": _CANNOT_EXECUTE,
        "signal": None,
        "cpu_s": 0.0,
        "wall_s": 0.0,
        "rss_bytes": 0,
        "stdout": b"",
        "stderr": str(error).encode(),
        "stopped": None,
    }


def default_signals():
    """Python ignores some, and whoever started this may too; a program has to get them all."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def watch(ended, pipes, deadline, output_bytes, kill):
    """Read the pipes until the program has ended and they are drained, or a limit is passed.

    ended: the program's pidfd. deadline: by time.monotonic(). kill: called at the end in any case.
    Returns what came through each pipe, at most output_bytes of it, and why the program was stopped
    ("time_wall", "output_limit" or None).
    """
    parts = {fd: [] for fd in pipes}
    sizes = dict.fromkeys(pipes, 0)
    stopped = None
    poll = select.poll()
    for fd in (*pipes, ended):
        os.set_blocking(fd, False)
        poll.register(fd, select.POLLIN)
    running = True
    while running and stopped is None:
        left = deadline - time.monotonic()
        if left <= 0:
            stopped = "time_wall"
            break
        for fd, _ in poll.poll(left * 1000 + 1):
            if fd == ended:
                running = False
            elif _read(fd, parts, sizes) == 0:
                poll.unregister(fd)
            elif sizes[fd] > output_bytes:
                stopped = "output_limit"
    kill()
    for fd in pipes:  # what was written before the end is still in the pipe
        while sizes[fd] <= output_bytes and _read(fd, parts, sizes):
            pass
        if stopped is None and sizes[fd] > output_bytes:
            stopped = "output_limit"
    return [b"".join(parts[fd])[:output_bytes] for fd in pipes], stopped


def _read(fd, parts, sizes):
    """Number of bytes read; 0 at the end of the stream, or where there is nothing just now."""
    try:
        data = os.read(fd, _CHUNK)
    except BlockingIOError:
        return 0
    parts[fd].append(data)
    sizes[fd] += len(data)
    return len(data)


def memory_file():
    return os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def fill(fd, data):
    """Give a memory file its content for good: who reads it can neither change nor fill it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def sealed(data):
    """A descriptor on `data`, in memory."""
    fd = memory_file()
    fill(fd, data)
    return fd


def signal_name(number):
    """SIGSEGV for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
