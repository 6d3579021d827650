"""What a forked child gives up before it runs code nobody has read: limits, rights, namespaces.

Thin calls into libc, each with an OSError that names the call.
"""

import ctypes
import math
import os
import resource
import struct

READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC = 1, 2, 4, 8  # flags of mount(), as in linux/mount.h
REMOUNT, BIND, RECURSIVE, PRIVATE = 32, 4096, 16384, 1 << 18

_NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
_SET_PARENT_DEATH_SIGNAL, _SET_DUMPABLE, _DROP_BOUNDING, _SUBREAPER = 1, 4, 24, 36
_SET_NO_NEW_PRIVS, _AMBIENT, _AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def set_limits(
    *,
    cpu_s: float,
    file_bytes: int,
    open_files: int,
    stack_bytes: int,
    processes: int | None = None,
    address_space: int | None = None,
    data: int | None = None,
) -> None:
    """Resource limits of this process and all it starts; never above the present hard limits.

    At cpu_s (rounded up to a second) comes SIGXCPU, a second later SIGKILL. processes counts all
    of the user's processes and threads, whoever started them. data counts memory that can be
    written to, and not, as address_space does, what a runtime only reserves. No core files; 64 KiB
    of locked memory and of message queues; no raised priority.
    """
    seconds = math.ceil(cpu_s)
    limits = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),
        resource.RLIMIT_FSIZE: (file_bytes, file_bytes),
        resource.RLIMIT_NOFILE: (open_files, open_files),
        resource.RLIMIT_STACK: (stack_bytes, stack_bytes),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MEMLOCK: (65536, 65536),
        resource.RLIMIT_MSGQUEUE: (65536, 65536),
        resource.RLIMIT_NICE: (0, 0),
        resource.RLIMIT_RTPRIO: (0, 0),
    }
    if processes is not None:
        limits[resource.RLIMIT_NPROC] = (processes, processes)
    if address_space is not None:
        limits[resource.RLIMIT_AS] = (address_space, address_space)
    if data is not None:
        limits[resource.RLIMIT_DATA] = (data, data)
    for which, (soft, hard) in limits.items():
        present = resource.getrlimit(which)[1]
        if present != resource.RLIM_INFINITY:
            soft, hard = min(soft, present), min(hard, present)
        resource.setrlimit(which, (soft, hard))


def drop_capabilities() -> None:
    """Give up every capability for good, those of later programs too. Raises OSError.

    Sets no_new_privs as well: a process without CAP_SETPCAP can't empty its bounding set, which
    under no_new_privs gives nothing.
    """
    no_new_privs()
    _prctl("PR_CAP_AMBIENT_CLEAR_ALL", _AMBIENT, _AMBIENT_CLEAR_ALL)
    for capability in range(64):
        # Fails past the last one the kernel knows, or at once without CAP_SETPCAP.
        if _libc.prctl(_DROP_BOUNDING, capability, 0, 0, 0):
            break
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check("capset", _libc.capset(header, bytes(24)))


def no_new_privs() -> None:
    """No program started from here on gains rights by setuid or file capabilities."""
    _prctl("PR_SET_NO_NEW_PRIVS", _SET_NO_NEW_PRIVS, 1)


def set_dumpable(dumpable: bool) -> None:
    """Whether the user's other processes may trace this one and look into it through /proc."""
    _prctl("PR_SET_DUMPABLE", _SET_DUMPABLE, int(dumpable))


def parent_death_signal(signal: int) -> None:
    """The signal that this process gets when the thread that forked it ends.

    A change of user clears it, so call it after drop_user. A parent that is dead already sends
    none: compare os.getppid() afterwards.
    """
    _prctl("PR_SET_PDEATHSIG", _SET_PARENT_DEATH_SIGNAL, signal)


def subreaper() -> None:
    """Orphans among this process's descendants become its children, not those of pid 1."""
    _prctl("PR_SET_CHILD_SUBREAPER", _SUBREAPER, 1)


def unshare(*names: str) -> None:
    """Leave namespaces for new ones: mount, pid (of children), ipc, net, uts, user, cgroup."""
    flags = 0
    for name in names:
        flags |= _NAMESPACES[name]
    _check(f"unshare({', '.join(names)})", _libc.unshare(flags))


def enter_namespace(fd: int) -> None:
    """Go where the descriptor of a namespace in /proc leads; to a pid one, for children only."""
    _check("setns", _libc.setns(fd, 0))


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2). kind is the file system's, "" with BIND, REMOUNT and PRIVATE. Raises OSError."""
    strings = [text.encode() for text in (source, target, kind)]
    failed = _libc.mount(*strings, ctypes.c_ulong(flags), data.encode())
    _check(f"mount({kind or source} on {target})", failed)


def drop_user(uid: int, gid: int) -> None:
    """Become another user, of one group only, for good.

    Raises OSError when the kernel refuses, or when the process still has rights afterwards.
    """
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    ids = {*os.getresuid(), *os.getresgid(), *os.getgroups()}
    if uid == 0 or gid == 0 or ids != {uid, gid} or _permitted_capabilities():
        raise PermissionError(f"still privileged as user {uid}, group {gid}: ids {sorted(ids)}")


def _permitted_capabilities() -> int:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    sets = ctypes.create_string_buffer(24)
    _check("capget", _libc.capget(header, sets))
    _, low, _, _, high, _ = struct.unpack("=6I", sets.raw)  # effective, permitted, inheritable
    return high << 32 | low


def _prctl(name: str, option: int, argument: int) -> None:
    _check(f"prctl({name})", _libc.prctl(option, argument, 0, 0, 0))


def _check(call: str, failed: int | bool) -> None:
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
