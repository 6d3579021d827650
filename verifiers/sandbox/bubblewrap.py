"""The bubblewrap command line: what the world looks like from inside.

Inside there are: /usr and what belongs to it, the mounts a language asks for, /proc, a minimal
/dev, the sources in /w (read-only), and memory file systems of limited size on /tmp, /out and
/dev/shm.
No network but an own loopback, no host process in sight, no capability, no user but its own.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

INSIDE_UID = 1000
SOURCES = "/w"
OUT = "/out"
TMP = "/tmp"
SHARED = "/dev/shm"
PATH = "/usr/local/bin:/usr/bin:/bin"
ENVIRONMENT = {
    "PATH": PATH,
    "HOME": TMP,
    "TMPDIR": TMP,
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "USER": "sandbox",
}

BASE_MOUNTS = ("/etc/alternatives", "/etc/ld.so.cache")

_NAMESPACES = [f"--unshare-{name}" for name in ("user", "ipc", "pid", "net", "uts", "cgroup-try")]


@cache
def program() -> str | None:
    """The path of bubblewrap, or None. Looked for where the system keeps programs, no further."""
    return shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")


@cache
def version() -> str | None:
    path = program()
    if path is None:
        return None
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10)
    return shown.stdout.split()[-1] if shown.returncode == 0 and shown.stdout else None


def walls(
    *, trusted: bool, seccomp_fd: int | None = None, status_fd: int | None = None
) -> list[str]:
    """The start of the command line: all that keeps a program in.

    trusted: the program is our own. As the first process of its pid namespace nothing inside can
    kill it, and it may mount, within the sandbox's own user namespace; it gives that up before it
    runs foreign code. seccomp_fd: the filter. status_fd: gets bubblewrap's status as JSON.
    """
    found = program()
    if found is None:
        raise FileNotFoundError("bwrap is not installed")
    line = [found, *_NAMESPACES, "--die-with-parent", "--new-session", "--hostname", "sandbox"]
    line += ["--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID)]
    if trusted:
        line += ["--as-pid-1", "--cap-add", "CAP_SYS_ADMIN"]
    if seccomp_fd is not None:
        line += ["--seccomp", str(seccomp_fd)]
    if status_fd is not None:
        line += ["--json-status-fd", str(status_fd)]
    return line


def interior(
    files: Mapping[str, int],
    *,
    disk_bytes: int,
    mounts: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> list[str]:
    """The rest of it, up to the program: what there is inside.

    files: descriptors by absolute path; those under /w are the sources. Bubblewrap closes them.
    """
    line = list(_system())
    for mount in (*BASE_MOUNTS, *mounts):
        line += ["--ro-bind-try", mount, mount]
    size = ["--perms", "1777", "--size", str(disk_bytes), "--tmpfs"]
    line += ["--proc", "/proc", "--dev", "/dev", *size, SHARED, "--remount-ro", "/dev"]
    line += [*size, TMP, *size, OUT, "--tmpfs", SOURCES]
    for path, fd in files.items():
        line += ["--perms", "0444", "--file", str(fd), path]
    line += ["--remount-ro", SOURCES, "--remount-ro", "/", "--chdir", SOURCES, "--clearenv"]
    for name, value in {**ENVIRONMENT, **(env or {})}.items():
        line += ["--setenv", name, value]
    return line


@cache
def _system() -> tuple[str, ...]:
    """/usr, and /bin, /lib and so on as they are here: links into /usr, or folders of their own."""
    line = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            line += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            line += ["--ro-bind", str(path), str(path)]
    return tuple(line)
