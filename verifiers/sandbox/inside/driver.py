"""The first process of a sandbox that runs several steps: compilations, then tests one by one.

It knows programs and their input, never an expected output. As process 1 of its namespace nothing
inside can kill it, and as it can't be dumped nothing inside can read its memory or descriptors.
A step leaves nothing to the next: it has mounts and IPC objects of its own, and all its processes
are killed at its end. Only a compilation can write into /out.
"""

import base64
import contextlib
import os
import resource
import signal
import sys

import confine
import messages
import process
import seccomp

OUT = "/out"
_NO_SPECIALS = confine.NO_SUID | confine.NO_DEVICES
_FILTER = seccomp.program()


def main():
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    confine.set_dumpable(False)
    while (request := messages.read_message(requests)) is not None:
        messages.write_message(replies, _step(request))


def _step(request):
    stdin = process.sealed(base64.b64decode(request["stdin"]))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        result = process.run(
            lambda standard: process.start(
                request["argv"],
                request["env"],
                standard,
                in_child=lambda: _enter(request),
            ),
            stdin=stdin,
            wall_s=request["wall_s"],
            output_bytes=request["output_bytes"],
            kill=lambda pid: _kill_all(),
        )
    except process.NotExecutable as error:
        if not request["argv"][0].startswith(OUT):
            return {"failed": str(error)}
        result = process.not_executable(error)
    except OSError as error:
        return {"failed": str(error)}
    finally:
        os.close(stdin)
        _reap_all()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result["cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    for stream in ("stdout", "stderr"):
        result[stream] = base64.b64encode(result[stream]).decode()
    return result


def _enter(request):
    confine.unshare("mount", "ipc")
    size = f"size={request['disk_bytes']},mode=1777"
    for folder in ("/tmp", "/dev/shm"):
        confine.mount("tmpfs", folder, "tmpfs", _NO_SPECIALS, size)
    if request["stage"] != "compile":
        flags = confine.REMOUNT | confine.BIND | confine.READ_ONLY | _NO_SPECIALS
        confine.mount("", OUT, "", flags)
    confine.set_limits(**request["limits"])
    confine.drop_capabilities()
    seccomp.install(_FILTER)
    confine.set_dumpable(True)  # or /proc/self would belong to root
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # out of memory, the kernel takes the program and not this driver
    os.setsid()


def _kill_all():
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def _reap_all():
    with contextlib.suppress(ChildProcessError):
        while True:
            _kill_all()
            os.waitpid(-1, 0)


if __name__ == "__main__":
    sys.exit(main())
