"""Attacks on what a program may use: time, memory, processes, disk, output."""

from .attack import (
    CPU,
    FILE,
    MEMORY,
    MIB,
    NONZERO,
    OK,
    OUTPUT,
    SIGNAL,
    WALL,
    Attack,
    Limits,
)

_SHORT = Limits(cpu_s=1, wall_s=4, memory_bytes=128 * MIB)
_WAITS = Limits(cpu_s=1, wall_s=1)
_ANYHOW = OK | CPU | WALL | MEMORY | NONZERO | SIGNAL

RESOURCES = (
    Attack(1, "cpu spin", "while True: pass", CPU | WALL, limits=_SHORT),
    Attack(
        2, "sleep forever", "time.sleep(1000); breach('outlived its time')", WALL, limits=_WAITS
    ),
    Attack(
        3,
        "ignore SIGXCPU and SIGTERM, and spin",
        """
for number_ in (signal.SIGXCPU, signal.SIGTERM):
    signal.signal(number_, signal.SIG_IGN)
while time.process_time() < 4:
    pass
breach("had more than the hard limit of processor time")
""",
        CPU | WALL,
        limits=_SHORT,
    ),
    Attack(
        4,
        "memory bomb",
        "held = []\nwhile True: held.append(b'x' * (8 << 20))",
        MEMORY | NONZERO,
        limits=_SHORT,
    ),
    Attack(
        5,
        "memory through shared mappings",
        """
import mmap
held = []
while len(held) < 64:
    held.append(mmap.mmap(-1, 16 << 20))
    for page in range(0, 16 << 20, 4096):
        held[-1][page] = 1
breach("a gigabyte")
""",
        MEMORY | SIGNAL,
        limits=_SHORT,
        without_cgroup=NONZERO,
    ),
    Attack(
        6,
        "fill /tmp",
        """
written = 0
def fill():
    global written
    for index in range(1000):
        with open(f"{TMP}/{index}", "wb", buffering=0) as file:
            written += file.write(b"x" * (1 << 20))
refused("fill", fill)
if written > 40 << 20:
    breach(f"{written} bytes")
""",
        limits=Limits(cpu_s=2, wall_s=10, disk_bytes=32 * MIB),
        bare=True,
        level_1="the disk is the host's, with no quota of its own",
    ),
    Attack(
        7,
        "many small files",
        """
count = 0
try:
    while count < 1 << 18:
        open(f"{TMP}/{count}", "w").close()
        count += 1
except OSError as error:
    print("refused", error)
""",
        _ANYHOW,
        limits=_SHORT,
    ),
    Attack(
        8,
        "a file above the limit",
        """
with open(TMP + "/big", "wb", buffering=0) as file:
    while file.tell() < 8 << 20:
        file.write(b"x" * (1 << 20))
breach("8 MiB in one file")
""",
        FILE,
        limits=Limits(cpu_s=2, wall_s=10, file_bytes=4 * MIB),
        bare=True,
    ),
    Attack(
        9,
        "fork bomb",
        "while True:\n    try: os.fork()\n    except OSError: pass",
        CPU | WALL | NONZERO,
        limits=Limits(cpu_s=1, wall_s=1.5, processes=32),
    ),
    Attack(
        10,
        "thread bomb",
        """
import threading
started = 0
def start():
    global started
    for _ in range(500):
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
        started += 1
try:
    start()
    breach("500 threads")
except RuntimeError as error:
    print("refused", started, error)
os._exit(0)
""",
        limits=Limits(cpu_s=2, wall_s=10, processes=32),
        bare=True,
    ),
    Attack(
        13,
        "output flood on stdout",
        "while True: os.write(1, b'x' * 65536)",
        OUTPUT,
        limits=_SHORT,
    ),
    Attack(
        14,
        "output flood on stderr",
        "while True: os.write(2, b'x' * 65536)",
        OUTPUT,
        limits=_SHORT,
    ),
    Attack(
        15,
        "output that is no UTF-8",
        "os.write(1, bytes(range(256)) * 100 + b'\\xed\\xa0\\x80\\0')",
    ),
    Attack(
        16,
        "as many descriptors as there are",
        """
held = []
def open_many():
    while len(held) < 2000:
        held.append(os.open("/dev/null", os.O_RDONLY))
refused("open", open_many)
""",
        bare=True,
    ),
    Attack(
        17,
        "recursion without end",
        "sys.setrecursionlimit(1 << 30)\ndef f(x): return f((x,)) + 1\nprint(f(()))",
        SIGNAL | NONZERO | MEMORY | CPU,
    ),
    Attack(
        18,
        "core dump",
        """
import resource
try:
    resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30))
    breach("core files are allowed")
except ValueError:
    os.abort()
""",
        SIGNAL,
    ),
    Attack(19, "large input that nobody reads", "print(1)", stdin="x" * 4 * MIB),
    Attack(
        98,
        "close stdout and go on",
        "os.close(1); os.close(2)\ntime.sleep(1000)",
        WALL,
        limits=_WAITS,
    ),
    Attack(
        99,
        "100 000 empty lines",
        "for _ in range(100_000): os.write(1, b'\\n')",
        OK,
    ),
)
