"""Landlock: a process gives up files, TCP and signals to others for itself and all it starts.

Needs no privileges and no namespaces. It does not stop UDP, stat() or chmod() of files it hides,
nor sockets in the file system. The numbers are those of linux/landlock.h.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every machine type
_ASK_VERSION = 1
_PATH_BENEATH = 1
_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHARACTER_DEVICE, _MAKE_BLOCK_DEVICE = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # version: how many rights it knows; 16 from 5 on
_ALL = (1 << 16) - 1
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_WRITING = _ALL & ~(_MAKE_CHARACTER_DEVICE | _MAKE_BLOCK_DEVICE | _IOCTL_DEVICE)
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE  # the rest has a meaning in folders

_TCP_BIND_AND_CONNECT = 3
_ABSTRACT_SOCKETS_AND_SIGNALS = 3

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def abi() -> int:
    """The kernel's version of Landlock; 0 where there is none or it is switched off."""
    words = [ctypes.c_long(value) for value in (_CREATE_RULESET, 0, 0, _ASK_VERSION)]
    return max(0, _libc.syscall(*words))


def restrict(*, read: Sequence[str], write: Sequence[str]) -> None:
    """Leave this thread the files and folders named, and what lies beneath them.

    read: may be read, listed and executed. write: may also be changed. Paths that do not exist
    are skipped. All else that the kernel's version knows is refused: TCP (from version 4), ioctl of
    devices opened later (5), abstract Unix sockets and signals to processes outside (6). Below
    version 3 truncate() of any file stays possible. Raises OSError; without Landlock too.
    """
    version = abi()
    if not version:
        raise OSError(
            errno.ENOSYS, "this kernel has no Landlock: add landlock to its boot option lsm="
        )
    handled = (1 << _RIGHTS.get(version, 16)) - 1
    tcp = _TCP_BIND_AND_CONNECT if version >= 4 else 0
    scoped = _ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0
    ruleset = _create(handled, tcp, scoped)
    try:
        for paths, access in ((read, _READING), (write, _WRITING)):
            for path in paths:
                _allow(ruleset, path, access & handled)
        _enforce(ruleset)
    finally:
        os.close(ruleset)


def scope() -> bool:
    """Cut this thread off from outer processes' abstract Unix sockets, and from signalling them.

    Says whether the kernel can (version 6). Files stay as they are, so bwrap can still mount within
    (one installed setuid can't: no_new_privs is set). Raises OSError.
    """
    if abi() < 6:
        return False
    ruleset = _create(0, 0, _ABSTRACT_SOCKETS_AND_SIGNALS)
    try:
        _enforce(ruleset)
    finally:
        os.close(ruleset)
    return True


def _create(files: int, tcp: int, scoped: int) -> int:
    # An older kernel takes the longer struct as long as what it does not know is zero.
    attributes = struct.pack("=QQQ", files, tcp, scoped)
    return _call("landlock_create_ruleset", _CREATE_RULESET, attributes, len(attributes), 0)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            access &= _OF_A_FILE
        rule = struct.pack("=Qi", access, opened)
        _call(f"landlock_add_rule({path})", _ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(opened)


def _enforce(ruleset: int) -> None:
    if _libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _error("prctl(PR_SET_NO_NEW_PRIVS)")
    _call("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)


def _call(name: str, number: int, *arguments: int | bytes) -> int:
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise _error(name)
    return result


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
