"""What an attack is, and what its programs have at hand."""

from dataclasses import dataclass

from verifiers.sandbox import COMPILE_LIMITS, VERDICTS, Limits
from verifiers.sandbox.execution import UNDECIDED

MIB = 1 << 20

OK = frozenset({"accepted"})
CPU = frozenset({"time_cpu"})
WALL = frozenset({"time_wall"})
MEMORY = frozenset({"memory"})
NONZERO = frozenset({"runtime_error", "pids_limit"})
OUTPUT = frozenset({"output_limit"})
FILE = frozenset({"file_limit", "runtime_error"})
SIGNAL = frozenset({"signal"})
SECCOMP = frozenset({"seccomp"})
NOT_COMPILED = frozenset({"compile_error"})
ANY = frozenset(VERDICTS) - UNDECIDED

QUICK = Limits(cpu_s=2, wall_s=15, memory_bytes=256 * MIB)
"""For programs that end by themselves, also on a machine that has much else to do."""


@dataclass(frozen=True)
class Attack:
    """One hostile program, and the verdicts it may get.

    number: up to 100 that of the published list, above our own. The program gets what the host
    lays out for it (see `host.py`) as JSON in its first argument. It prints BREACH and a word where
    it got through, and ends well if all it tried was refused, unless `expected` says otherwise.

    bare: with no sandbox at all, run by an ordinary user, it does print BREACH; so silence inside
    tells something. num_tests: how often it is run, one after another in the same sandbox.
    without_cgroup: verdicts that count too where memory and processes are limited one by one.
    level_1: why Landlock alone does not stop this one; "" if it does. machine: the only machine
    type that the program is for.
    """

    number: int
    title: str
    source: str
    expected: frozenset[str] = OK
    language: str = "python"
    limits: Limits = QUICK
    compile_limits: Limits = COMPILE_LIMITS
    num_tests: int = 1
    stdin: str = ""
    bare: bool = False
    without_cgroup: frozenset[str] = frozenset()
    level_1: str = ""
    machine: str = ""
    slow: bool = False

    @property
    def program(self) -> str:
        return PRELUDE + self.source if self.language == "python" else self.source


PRELUDE = '''
import ctypes, errno, json, os, signal, socket, subprocess, sys, time

HOST = json.loads(sys.argv[1])
TMP = os.environ["TMPDIR"]
OUT = TMP.removesuffix("tmp") + "out"
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def breach(what):
    print("BREACH:" + str(what)[:300], flush=True)


def refused(what, attack, *arguments):
    """The attack has to fail with an error of the system's; a result is a breach."""
    try:
        got = attack(*arguments)
    except OSError as error:
        print("refused", what, errno.errorcode.get(error.errno, error.errno), flush=True)
    else:
        breach(f"{what} gave {got!r}")


def call(function, *arguments):
    """A function of libc's, its failure as OSError."""
    result = function(*arguments)
    if result is None or result == -1 or (result or 0) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def syscall(number, *arguments):
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return call(libc.syscall, ctypes.c_long(number), *words)


def number(x86_64, aarch64):
    return x86_64 if os.uname().machine == "x86_64" else aarch64


def read(path):
    with open(path, "rb") as file:
        return file.read(200)


def write(path, text="1"):
    with open(path, "w") as file:
        file.write(text)


'''
