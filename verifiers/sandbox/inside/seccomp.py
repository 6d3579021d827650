"""Which system calls code in the sandbox may make: a filter that the kernel runs before each one.

Classic BPF, put together here so that no library is needed. Everything is allowed but what is
named: calls that reach past namespaces, limits or other processes, or that mostly serve exploits.
The filter can't see what pointers point to. So clone3, whose flags lie in memory, is answered with
"no such call" and libc falls back to clone.
"""

import ctypes
import errno
import os
import struct

_DENIED = {  # call: number on (x86_64, aarch64), None where there is no such call
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "memfd_secret": (447, 447),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
_LOOKED_AT = {  # calls whose arguments decide
    "clone": (56, 220),
    "clone3": (435, 435),
    "ioctl": (16, 29),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "personality": (135, 92),
    "prlimit64": (302, 261),
    "socket": (41, 198),
    "socketpair": (53, 199),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # table column, AUDIT_ARCH_*

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
# CLONE_NEW's NS, CGROUP, UTS, IPC, USER, PID and NET. TIME's bit means something else to clone.
_CLONE_NEW = 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_FILE_TYPE, _CHARACTER_DEVICE, _BLOCK_DEVICE = 0o170000, 0o020000, 0o060000
_X32 = 0x40000000

_LOAD, _AND = 0x20, 0x54  # a 32-bit word of the call's data to the accumulator; and with k
_EQUAL, _AT_LEAST, _ANY_BIT = 0x15, 0x35, 0x45  # jumps on a comparison with k
_RETURN = 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

_Instruction = tuple[int, int, int, int]
_ALLOWED = (_RETURN, 0, 0, _ALLOW)


def program(*, sockets: bool = True) -> bytes:
    """The filter: an array of struct sock_filter, for `install` or for a file bwrap reads.

    Refused calls fail with EPERM, and with EAFNOSUPPORT for sockets other than Unix and IP ones;
    sockets=False leaves pairs of Unix sockets only, which lead nowhere: those in the file system
    may lead to a service of the host's. A call by another architecture's numbers (32-bit int 0x80,
    x32) kills the process with SIGSYS. Raises OSError on a machine type without a table.
    """
    machine = os.uname().machine
    if machine not in _MACHINES:
        raise OSError(
            errno.ENOSYS,
            f"no table of system calls for machine type '{machine}', only for "
            f"{' and '.join(_MACHINES)}: run the sandbox on one of these",
        )
    column, arch = _MACHINES[machine]
    code = [(_LOAD, 0, 0, _ARCH), *_unless(_EQUAL, arch, _KILL), (_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        code += _if(_AT_LEAST, _X32, _KILL)
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    answers = {numbers[column]: [refuse] for numbers in _DENIED.values()}
    for call, checks in _checks(sockets).items():
        answers[_LOOKED_AT[call][column]] = [*checks, _ALLOWED]
    answers.pop(None, None)
    code += _search(sorted(answers.items()))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def install(program: bytes) -> None:
    """Put this thread, and all it starts, under the filter for good. Raises OSError."""
    if _libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _error("prctl(PR_SET_NO_NEW_PRIVS)")
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
    header = ctypes.create_string_buffer(header, len(header))
    if _libc.prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(header), 0, 0):
        raise _error("prctl(PR_SET_SECCOMP)")


def _checks(sockets: bool) -> dict[str, list[_Instruction]]:
    """Call -> code that returns a refusal, or runs through.

    The low half of an argument is enough: the kernel itself cuts all of these to 32 bits or fewer.
    """
    refuse, unsupported = _ERRNO | errno.EPERM, _ERRNO | errno.EAFNOSUPPORT
    families = (_AF_UNIX, _AF_INET, _AF_INET6)
    family = [_argument(0), *_unless_one_of(families, unsupported)]
    no_family = [(_RETURN, 0, 0, unsupported)]
    devices = [(_AND, 0, 0, _FILE_TYPE), *_if(_EQUAL, _CHARACTER_DEVICE, refuse)]
    devices += _if(_EQUAL, _BLOCK_DEVICE, refuse)
    return {
        "clone": [_argument(0), *_if(_ANY_BIT, _CLONE_NEW, refuse)],
        "clone3": [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)],
        "ioctl": [_argument(1), *_if(_EQUAL, _TIOCSTI, refuse), *_if(_EQUAL, _TIOCLINUX, refuse)],
        "mknod": [_argument(1), *devices],
        "mknodat": [_argument(2), *devices],
        # 0 is what every process has, 0xffffffff only asks.
        "personality": [_argument(0), *_unless_one_of((0, 0xFFFFFFFF), refuse)],
        # Another process's limits: the kernel asks for no more than the same user.
        "prlimit64": [_argument(0), *_unless(_EQUAL, 0, refuse)],
        "socket": family if sockets else no_family,
        "socketpair": family,
    }


def _search(answers: list[tuple[int, list[_Instruction]]]) -> list[_Instruction]:
    """By halves: the kernel walks through it for each call there is when a filter is installed."""
    if len(answers) > 3:
        half = len(answers) // 2
        low, high = _search(answers[:half]), _search(answers[half:])
        return [(_AT_LEAST, len(low), 0, answers[half][0]), *low, *high]
    tests = [i for number, code in answers for i in ((_EQUAL, 0, len(code), number), *code)]
    return [*tests, _ALLOWED]


def _argument(index: int) -> _Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)  # both machines are little-endian: low half first


def _if(test: int, value: int, action: int) -> list[_Instruction]:
    return [(test, 0, 1, value), (_RETURN, 0, 0, action)]


def _unless(test: int, value: int, action: int) -> list[_Instruction]:
    return [(test, 1, 0, value), (_RETURN, 0, 0, action)]


def _unless_one_of(values: tuple[int, ...], action: int) -> list[_Instruction]:
    tests = [(_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [*tests, (_RETURN, 0, 0, action)]


_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
