"""Every refused system call is tried for real, by its number, in a child under the filter."""

import ctypes
import errno
import multiprocessing
import os
import pty
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from forked import Killed, in_child

from verifiers.sandbox.inside import seccomp

MACHINE = os.uname().machine
COLUMN = {"x86_64": 0, "aarch64": 1}.get(MACHINE)
HEADERS = {
    0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    1: Path("/usr/include/asm-generic/unistd.h"),
}
PYTHON = "/usr/bin/python3"

pytestmark = pytest.mark.skipif(COLUMN is None, reason=f"no table for machine type {MACHINE}")
_libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int) -> int:
    """errno of a raw system call; 0 when it succeeds."""
    words = [ctypes.c_ulong(a) for a in (number, *arguments)]
    _libc.syscall.restype = ctypes.c_long
    return ctypes.get_errno() if _libc.syscall(*words) < 0 else 0


def number(name: str) -> int | None:
    return {**seccomp._DENIED, **seccomp._LOOKED_AT}[name][COLUMN]


def filtered(act, **options):
    def run():
        seccomp.install(seccomp.program(**options))
        return act()

    return in_child(run)


def try_all_denied() -> dict[str, int]:
    os.setsid()  # no terminal to hang up, should the filter let vhangup through
    present = {name: number(name) for name in seccomp._DENIED if number(name) is not None}
    nonsense = [2**64 - 1] * 6  # does no harm, should the filter let a call through
    return {name: call(number, *nonsense) for name, number in present.items()}


def test_every_denied_call_fails_with_eperm_and_only_under_the_filter():
    assert set(filtered(try_all_denied).values()) == {errno.EPERM}
    free = in_child(try_all_denied)
    for name in ("unshare", "setns", "ptrace", "keyctl", "process_vm_readv", "userfaultfd"):
        assert free[name] != errno.EPERM, name


@pytest.mark.parametrize("column", HEADERS)
def test_numbers_are_those_of_the_kernel_headers(column):
    if not HEADERS[column].exists():
        pytest.skip(f"no {HEADERS[column]}")
    text = HEADERS[column].read_text()
    known = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text))
    calls = {**seccomp._DENIED, **seccomp._LOOKED_AT}
    listed = {name: numbers[column] for name, numbers in calls.items() if name in known}
    assert len(listed) > 50
    assert listed == {name: int(known[name]) for name in listed}


def test_clone_makes_no_namespaces_and_clone3_is_no_call():
    namespaces = [1 << bit for bit in (17, 25, 26, 27, 28, 29, 30)]

    def attempt():
        refused = [call(number("clone"), flag | signal.SIGCHLD, 0, 0, 0, 0) for flag in namespaces]
        return refused, call(number("clone3"), 0, 0)

    assert filtered(attempt) == [[errno.EPERM] * 7, errno.ENOSYS]


def test_personality_may_be_asked_but_not_changed():
    def attempt():
        personality = number("personality")
        calls = (0x0040000, 0x0400000, 0xFFFFFFFF, 0, 1 << 32)  # the kernel takes the low half
        return [call(personality, value) for value in calls]

    assert filtered(attempt) == [errno.EPERM, errno.EPERM, 0, 0, 0]


def test_nodes_are_files_and_fifos_never_devices(tmp_path):
    def attempt():
        results = []
        # Character device 0:0, a whiteout, needs no privileges: only the filter refuses it.
        for kind in (stat.S_IFIFO, stat.S_IFREG, stat.S_IFCHR, stat.S_IFBLK):
            try:
                os.mknod(tmp_path / f"{kind}", kind | 0o600, 0)
                results.append(0)
            except OSError as error:
                results.append(error.errno)
        return results

    assert filtered(attempt) == [0, 0, errno.EPERM, errno.EPERM]


def test_the_high_half_of_a_short_argument_changes_nothing():
    high, netlink, dgram = 1 << 32, 16, 2

    def attempt():
        return [call(number("socket"), high | family, dgram, 0) for family in (netlink, 2)]

    assert filtered(attempt) == [errno.EAFNOSUPPORT, 0]


@pytest.mark.parametrize("sockets", [True, False])
def test_sockets_are_unix_and_ip_or_none(sockets):
    def attempt():
        families = range(64)
        return [call(number("socket"), family, socket.SOCK_DGRAM, 0) for family in families]

    def works(results):
        return {f for f, result in enumerate(results) if result != errno.EAFNOSUPPORT}

    allowed = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6} if sockets else set()
    free = works(in_child(attempt))
    assert socket.AF_NETLINK in free
    assert works(filtered(attempt, sockets=sockets)) == free & allowed


def test_without_sockets_a_process_can_still_talk_to_its_children():
    def attempt():
        one, other = socket.socketpair()
        one.send(b"x")
        return other.recv(1).decode()

    assert filtered(attempt, sockets=False) == "x"


def test_a_terminal_takes_no_forged_input():
    tiocsti, tioclinux, tcgets = 0x5412, 0x541C, 0x5401

    def attempt():
        _, terminal = pty.openpty()
        data = ctypes.create_string_buffer(b"\x06" * 128)
        requests = (tiocsti, 1 << 32 | tiocsti, tioclinux, tcgets)
        return [call(number("ioctl"), terminal, r, ctypes.addressof(data)) for r in requests]

    assert filtered(attempt) == [errno.EPERM, errno.EPERM, errno.EPERM, 0]


@pytest.mark.skipif(MACHINE != "x86_64", reason="x86_64 has other machines' calls as well")
def test_calls_by_another_architectures_numbers_kill():
    def getpid_by_x32():
        return call(0x40000000 + 39)

    def getpid_by_int80():
        import mmap

        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        return ctypes.CFUNCTYPE(ctypes.c_int)(address)()

    for attempt in (getpid_by_x32, getpid_by_int80):
        with pytest.raises(Killed) as killed:
            filtered(attempt)
        assert killed.value.args[0] == signal.SIGSYS


def test_threads_processes_pipes_and_loopback_work():
    def ordinary_life():
        seen = []
        thread = threading.Thread(target=seen.append, args=("thread",))
        thread.start()
        thread.join()
        seen.append(subprocess.run(["echo", "exec"], capture_output=True, text=True).stdout.strip())
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=theirs.send, args=("process",))
        process.start()
        seen.append(ours.recv())
        process.join()
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            server.accept()[0].sendall(b"tcp")
            seen.append(client.recv(3).decode())
        left, right = socket.socketpair()
        left.sendall(b"unix")
        seen.append(right.recv(4).decode())
        return seen

    assert filtered(ordinary_life) == ["thread", "exec", "process", "tcp", "unix"]


def test_programs_started_later_are_under_it_too():
    ask = (
        "import ctypes; c = ctypes.CDLL(None, use_errno=True); "
        "print(c.unshare(0x10000000), ctypes.get_errno())"
    )

    def attempt():
        return subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True).stdout

    assert filtered(attempt).split() == ["-1", str(errno.EPERM)]


@pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")
def test_bubblewrap_takes_the_program(tmp_path):
    ask = (
        "import ctypes, socket; c = ctypes.CDLL(None, use_errno=True); c.unshare(0x10000000)\n"
        "print(ctypes.get_errno())\n"
        "try: socket.socket(socket.AF_NETLINK)\n"
        "except OSError as error: print(error.errno)"
    )
    (tmp_path / "filter").write_bytes(seccomp.program())
    with open(tmp_path / "filter", "rb") as opened:
        argv = [
            "bwrap",
            "--ro-bind",
            "/",
            "/",
            "--seccomp",
            str(opened.fileno()),
            PYTHON,
            "-c",
            ask,
        ]
        done = subprocess.run(argv, pass_fds=[opened.fileno()], capture_output=True, text=True)
    if "namespace" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    assert done.stdout.split() == [str(errno.EPERM), str(errno.EAFNOSUPPORT)], done.stderr


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_program_of_either_machine_decides_alike(monkeypatch, machine):
    """Walked through by hand here, since only one machine's can be installed."""
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("", "", "", "", machine)))
    column, arch = seccomp._MACHINES[machine]
    program = seccomp.program()

    def answer(name, *arguments, arch=arch):
        numbers = {**seccomp._DENIED, **seccomp._LOOKED_AT, "read": (0, 63)}[name]
        return decide(program, arch, numbers[column], arguments)

    refused = {answer(name) for name, numbers in seccomp._DENIED.items() if numbers[column]}
    assert refused == {0x50000 | errno.EPERM}
    allowed = 0x7FFF0000
    assert answer("read") == answer("personality", 0) == answer("socket", 1) == allowed
    assert answer("clone", signal.SIGCHLD) == answer("ioctl", 0, 0x5401) == allowed
    assert answer("clone", 0x10000000) == answer("ioctl", 0, 0x5412) == 0x50000 | errno.EPERM
    assert (
        answer("mknodat", 0, 0, stat.S_IFBLK) == answer("personality", 8) == 0x50000 | errno.EPERM
    )
    assert answer("mknodat", 0, 0, stat.S_IFIFO) == allowed
    assert answer("socketpair", 40) == answer("socket", 16) == 0x50000 | errno.EAFNOSUPPORT
    assert answer("read", arch=0x40000028) == 0x80000000  # 32-bit ARM: the process dies


def decide(program: bytes, arch: int, number: int, arguments: tuple[int, ...]) -> int:
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, arch, 0, *padded)
    code = list(struct.iter_unpack("<HBBI", program))
    at = value = 0
    while True:
        operation, if_true, if_false, k = code[at]
        at += 1
        match operation:
            case 0x06:
                return k
            case 0x20:
                (value,) = struct.unpack_from("<I", data, k)
            case 0x54:
                value &= k
            case 0x15:
                at += if_true if value == k else if_false
            case 0x35:
                at += if_true if value >= k else if_false
            case 0x45:
                at += if_true if value & k else if_false


def test_a_machine_without_a_table_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("", "", "", "", "riscv64")))
    with pytest.raises(OSError, match=r"'riscv64'.*x86_64 and aarch64"):
        seccomp.program()


def test_a_broken_program_is_not_installed_in_silence():
    def attempt():
        try:
            seccomp.install(bytes(8))
        except OSError as error:
            return [error.errno, str(error)]

    number, text = in_child(attempt)
    assert number == errno.EINVAL and "PR_SET_SECCOMP" in text
