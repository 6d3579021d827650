"""System calls that reach past namespaces, or that mostly serve exploits of the kernel."""

from .attack import OK, SECCOMP, SIGNAL, Attack

_CLONE_NEW = """
NEW_NAMESPACES = {"ns": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000,
                  "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
"""

SYSCALLS = (
    Attack(
        37,
        "unshare a user namespace",
        _CLONE_NEW
        + """
for name, flag in NEW_NAMESPACES.items():
    refused("unshare " + name, syscall, number(272, 97), flag)
""",
        bare=True,
    ),
    Attack(
        38,
        "setns into other namespaces",
        """
for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
    for pid in (1, "self", HOST["pid"]):
        try:
            fd = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)
        except OSError:
            continue
        refused(f"setns {pid} {name}", syscall, number(308, 268), fd, 0)
pidfd = os.pidfd_open(os.getpid())
refused("setns pidfd", syscall, number(308, 268), pidfd, 0x20000)
""",
    ),
    Attack(
        39,
        "bpf",
        """
attributes = ctypes.create_string_buffer(bytes([1, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 1]), 128)
refused("map", syscall, number(321, 280), 0, attributes, 128)
""",
    ),
    Attack(40, "userfaultfd", "refused('it', syscall, number(323, 282), 1)", bare=True),
    Attack(
        41,
        "perf_event_open",
        """
import struct
EXCLUDE_KERNEL_AND_HYPERVISOR = 1 << 5 | 1 << 6
attributes = struct.pack("=IIQQQQQ", 1, 112, 1, 0, 0, 0, EXCLUDE_KERNEL_AND_HYPERVISOR)
attributes = ctypes.create_string_buffer(attributes, 112)
refused("clock", syscall, number(298, 241), attributes, 0, -1, -1, 0)
""",
        bare=True,
    ),
    Attack(
        42,
        "io_uring_setup",
        "refused('it', syscall, 425, 8, ctypes.create_string_buffer(256))",
        bare=True,
    ),
    Attack(43, "keyctl", "refused('it', syscall, number(250, 219), 0, -3, 1)", bare=True),
    Attack(
        44,
        "add_key",
        "refused('it', syscall, number(248, 217), b'user', b'name', b'secret', 6, -2)",
        bare=True,
    ),
    Attack(
        45,
        "ptrace",
        """
child = os.fork()
if child == 0:
    time.sleep(100)
    os._exit(0)
refused("seize", call, libc.ptrace, 0x4206, child, None, None)
refused("process 1", call, libc.ptrace, 0x4206, 1, None, None)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
refused("traceme", call, libc.ptrace, 0, 0, None, None)
""",
        bare=True,
    ),
    Attack(
        46,
        "process_vm_readv and _writev",
        """
class Span(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
here, there = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
spans = [ctypes.byref(Span(ctypes.addressof(b), 8)) for b in (here, there)]
for pid in (os.getpid(), 1):
    for name, call_number in (("read", number(310, 270)), ("write", number(311, 271))):
        refused(f"{name} {pid}", syscall, call_number, pid, spans[0], 1, spans[1], 1, 0)
""",
        bare=True,
    ),
    Attack(
        47,
        "kexec_load",
        "refused('it', syscall, number(246, 104), 0, 0, None, 0)\n"
        "refused('by file', syscall, number(320, 294), -1, -1, 0, None, 0)",
    ),
    Attack(
        48,
        "finit_module",
        """
module = os.open(sys.argv[0], os.O_RDONLY)
refused("finit", syscall, number(313, 273), module, b"", 0)
refused("init", syscall, number(175, 105), b"x", 1, b"")
refused("delete", syscall, number(176, 106), b"ext4", 0)
""",
    ),
    Attack(
        49,
        "the new mount calls",
        """
refused("fsopen", syscall, 430, b"tmpfs", 0)
refused("open_tree", syscall, 428, -100, b"/usr", 1)
refused("mount_setattr", syscall, 442, -100, b"/usr", 0, ctypes.create_string_buffer(32), 32)
refused("move_mount", syscall, 429, -100, b"/tmp", -100, b"/usr", 0)
refused("fspick", syscall, 433, -100, b"/usr", 0)
""",
    ),
    Attack(
        50,
        "personality without address randomisation",
        """
ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC = 0x0040000, 0x0400000
refused("randomise", call, libc.personality, ctypes.c_ulong(ADDR_NO_RANDOMIZE))
refused("execute", call, libc.personality, ctypes.c_ulong(READ_IMPLIES_EXEC))
""",
        bare=True,
    ),
    Attack(
        51,
        "reboot",
        "refused('it', syscall, number(169, 142), 0xfee1dead, 672274793, 0, None)\n"
        "refused('swapon', syscall, number(167, 224), b'/tmp/x', 0)\n"
        "refused('clock', time.clock_settime, time.CLOCK_REALTIME, 0)",
    ),
    Attack(
        52,
        "clone into new namespaces",
        _CLONE_NEW
        + """
for name, flag in NEW_NAMESPACES.items():
    before = os.getpid()
    try:
        pid = syscall(number(56, 220), flag | signal.SIGCHLD, 0, 0, 0, 0)
    except OSError as error:
        print("refused", name, error)
        continue
    if pid == 0:
        os._exit(0)
    breach("clone " + name)
arguments = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, signal.SIGCHLD)
try:
    pid = syscall(435, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid == 0:
        os._exit(0)
    breach("clone3")
except OSError as error:
    print("refused clone3", error)
""",
        bare=True,
    ),
    Attack(
        53,
        "an x32 system call",
        r"""
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main() {
    long pid = syscall(0x40000000 | SYS_getpid);
    printf(pid > 0 ? "BREACH:x32\n" : "no x32\n");
    return 0;
}
""",
        SECCOMP | SIGNAL,
        language="c",
        machine="x86_64",
    ),
    Attack(
        54,
        "a 32-bit system call by int 0x80",
        r"""
#include <stdio.h>
int main() {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(310), "b"(0x10000000) : "memory");
    printf(result == 0 ? "BREACH:unshare by int 0x80\n" : "refused %ld\n", result);
    return 0;
}
""",
        OK | SECCOMP | SIGNAL,
        language="c",
        machine="x86_64",
        bare=True,
    ),
    Attack(
        107,
        "calls on other processes of the same user that no tracing check guards",
        """
import resource
refused("limits of process 1", resource.prlimit, 1, resource.RLIMIT_NOFILE, (3, 3))
refused("limits of the parent", resource.prlimit, HOST["pid"], resource.RLIMIT_CPU, (1, 1))
""",
        bare=True,
    ),
    Attack(
        108,
        "calls that few programs need and exploits like",
        """
refused("kcmp", syscall, number(312, 272), os.getpid(), os.getpid(), 0, 0, 1)
refused("pidfd_getfd", syscall, 438, os.pidfd_open(os.getpid()), 1, 0)
refused("fanotify", syscall, number(300, 262), 0x200, 0)
refused("syslog", syscall, number(103, 116), 10, None, 0)
refused("acct", syscall, number(163, 89), None)
refused("quotactl", syscall, number(179, 60), 0x800007, None, 0, None)
refused("memfd_secret", syscall, 447, 0)
refused("process_madvise", syscall, 440, os.pidfd_open(os.getpid()), None, 0, 21, 0)
refused("io_uring_register", syscall, 427, 0, 0, None, 0)
if os.uname().machine == "x86_64":
    refused("modify_ldt", syscall, 154, 0, ctypes.create_string_buffer(64), 64)
    refused("iopl", syscall, 172, 3)
""",
        bare=True,
    ),
    Attack(
        109,
        "a seccomp filter of one's own that lets all through",
        """
import struct
program = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
filter_ = struct.pack("@HP", 1, ctypes.addressof(program))
libc.prctl(22, 2, filter_, 0, 0)
refused("unshare", syscall, number(272, 97), 0x10000000)
""",
        bare=True,
    ),
)
