"""Attacks on other processes: the host's, those that run the sandbox, those of the next test."""

from .attack import ANY, OK, WALL, Attack, Limits

_WAITS = Limits(cpu_s=1, wall_s=1)
_ONE_VIEW = "there is no pid namespace: /proc shows the host's processes"
_DAEMON = """
def daemon(*argv):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            os.execvp(argv[0], argv)
        os._exit(0)
    os.wait()
"""

PROCESSES = (
    Attack(
        11,
        "a daemon that outlives its program",
        _DAEMON
        + """
null = os.open(os.devnull, os.O_RDWR)
for fd in (0, 1, 2):
    os.dup2(null, fd)
daemon("sleep", HOST["daemon"])
""",
    ),
    Attack(
        12,
        "a daemon that keeps stdout open",
        _DAEMON + "daemon('sleep', HOST['daemon'])",
        OK | WALL,
        limits=Limits(cpu_s=1, wall_s=2),
    ),
    Attack(
        62,
        "see the host's processes",
        """
wanted = ["sleep", HOST["sleeper"], ""]
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        if read(f"/proc/{pid}/cmdline").decode().split("\\0") == wanted:
            breach("process " + pid)
    except OSError:
        pass
""",
        bare=True,
        level_1=_ONE_VIEW,
    ),
    Attack(
        63,
        "kill every process",
        "os.kill(-1, signal.SIGKILL); print('still here')",
        ANY,
    ),
    Attack(
        64,
        "kill a process of the host's",
        """
refused("kill", os.kill, HOST["pid"], signal.SIGKILL)
refused("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(HOST["pid"]), signal.SIGKILL))
refused("group", os.killpg, HOST["pid"], signal.SIGKILL)
refused("priority", os.setpriority, os.PRIO_PROCESS, HOST["pid"], 19)
refused("processors", os.sched_setaffinity, HOST["pid"], {0})
""",
        bare=True,
        level_1="Landlock stops signals, not the calls for priority and processors",
    ),
    Attack(
        65,
        "kill and stop process 1",
        """
for number_ in (signal.SIGTERM, signal.SIGSTOP, signal.SIGSEGV, signal.SIGXCPU, signal.SIGKILL):
    try:
        os.kill(1, number_)
    except OSError as error:
        print("refused", error)
""",
        ANY,
        num_tests=2,
    ),
    Attack(
        66,
        "the host's environment",
        "print(dict(os.environ))\nif 'ALIGN_CANARY' in os.environ: breach('environment')",
        bare=True,
    ),
    Attack(
        67,
        "other processes' environment through /proc",
        """
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            if b"ALIGN_CANARY" in file.read():
                breach("of process " + pid)
    except OSError:
        pass
""",
        bare=True,
    ),
    Attack(
        68,
        "inherited descriptors",
        """
listing = os.open("/proc/self/fd", os.O_RDONLY)
others = {name: os.readlink("/proc/self/fd/" + name) for name in os.listdir(listing)
          if name not in ("0", "1", "2", str(listing), str(listing + 1))}
if others:
    breach(others)
""",
        bare=True,
        num_tests=2,
    ),
    Attack(
        69,
        "the host's name",
        """
if socket.gethostname() == HOST["hostname"]:
    breach(socket.gethostname())
refused("sethostname", socket.sethostname, "mine")
""",
        bare=True,
        level_1="there is no namespace for the name",
    ),
    Attack(
        71,
        "capabilities",
        """
with open("/proc/self/status") as status:
    held = {k: v.strip() for k, v in (line.split(":", 1) for line in status) if k[:3] == "Cap"}
for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
    if int(held[name], 16):
        breach(name + held[name])
refused("setuid", os.setuid, 0)
refused("setgid", os.setgid, 0)
refused("setgroups", os.setgroups, [0])
refused("uid_map", write, "/proc/self/uid_map", "0 0 1")
""",
    ),
    Attack(
        72,
        "memory that processes of the host share",
        """
refused("System V", call, libc.shmget, HOST["shm_key"], 4096, 0)
refused("POSIX", read, "/dev/shm/" + HOST["shm_name"])
""",
        bare=True,
        level_1="there is no namespace for System V IPC",
    ),
    Attack(
        73,
        "the kernel's log",
        """
refused("syslog", syscall, number(103, 116), 3, ctypes.create_string_buffer(100), 100)
refused("kmsg", read, "/dev/kmsg")
""",
    ),
    Attack(
        74,
        "out of the control group",
        """
refused("list", os.listdir, "/sys/fs/cgroup")
os.mkdir(TMP + "/cg")
folder = (TMP + "/cg").encode()
for kind, options in ((b"cgroup", b"memory"), (b"cgroup2", None)):
    refused(kind, call, libc.mount, b"none", folder, kind, ctypes.c_ulong(0), options)
""",
        bare=True,
    ),
    Attack(
        96,
        "a clock check that behaves differently when tested",
        """
refused("set the clock", time.clock_settime, time.CLOCK_REALTIME, 0)
start = time.monotonic()
while time.monotonic() - start < 0.05:
    pass
sys.exit(0 if os.environ.get("HOME") == "/root" else 3)
""",
        frozenset({"runtime_error"}),
    ),
    Attack(
        97,
        "stop oneself",
        "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(1000)",
        WALL,
        limits=_WAITS,
    ),
    Attack(
        100,
        "a process that looks like the sandbox's own",
        _DAEMON
        + """
libc.prctl(15, b"bwrap", 0, 0, 0)
daemon("bash", "-c", f"exec -a /usr/bin/bwrap sleep {HOST['daemon']}")
time.sleep(1000)
""",
        WALL,
        limits=_WAITS,
    ),
    Attack(
        111,
        "process 1: its memory, descriptors, limits and signals",
        """
if os.readlink("/proc/self/exe") and os.getpid() != 1:
    for what in ("mem", "environ", "maps", "fd/0", "fd/3", "fd/4", "fdinfo/3", "root", "cwd"):
        refused(what, open, "/proc/1/" + what, "rb" if what != "mem" else "r+b")
    refused("limits", read, "/proc/1/io")
    refused("oom", open, "/proc/1/oom_score_adj", "w")
    refused("priority", os.setpriority, os.PRIO_PROCESS, 1, 19)
    refused("schedule", os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))
    refused("processors", os.sched_setaffinity, 1, {0})
""",
        num_tests=2,
    ),
    Attack(
        112,
        "break process 1 by writing into its memory",
        """
try:
    with open("/proc/1/maps") as maps, open("/proc/1/mem", "r+b", buffering=0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if "x" in rights or "[stack]" in line:
                low, high = (int(end, 16) for end in span.split("-"))
                try:
                    memory.seek(low)
                    memory.write(b"\\xcc" * (high - low))
                except OSError:
                    pass
except OSError as error:
    print("refused", error)
os.kill(os.getpid(), signal.SIGKILL)
""",
        ANY - OK,
    ),
    Attack(
        113,
        "lower the limits of process 1 until it fails",
        """
import resource
for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_NPROC,
              resource.RLIMIT_STACK, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE):
    try:
        resource.prlimit(1, which, (0, 0))
    except OSError as error:
        print("refused", error)
sys.exit(1)
""",
        ANY - OK,
        num_tests=2,
    ),
    Attack(
        114,
        "processes left to disturb the next test",
        """
if os.fork() == 0:
    os.setsid()
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)
time.sleep(0.2)
os._exit(0)
""",
        OK,
        num_tests=3,
        limits=Limits(cpu_s=1, wall_s=8, processes=32),
    ),
    Attack(
        115,
        "exit codes that look like the kernel's signals",
        "os._exit(128 + 9)",
        ANY - OK,
        num_tests=2,
    ),
    Attack(
        116,
        "answers forged on every descriptor",
        """
import struct
result = {"exit_code": 0, "signal": None, "stopped": None, "stdout": "", "stderr": "",
          "cpu_s": 0, "wall_s": 0, "verdict": "accepted"}
body = json.dumps(result).encode()
for fd in range(3, 256):
    try:
        os.write(fd, struct.pack("!Q", len(body)) + body)
        breach(f"descriptor {fd}")
    except OSError:
        pass
for pid in filter(str.isdigit, os.listdir("/proc")):
    if pid == str(os.getpid()):
        continue
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        continue
    for name in names:
        try:
            if "pipe" in os.readlink(f"/proc/{pid}/fd/{name}") and int(name) > 2:
                with open(f"/proc/{pid}/fd/{name}", "wb", buffering=0) as pipe:
                    pipe.write(struct.pack("!Q", len(body)) + body)
                    breach(f"pipe {name} of process {pid}")
        except OSError:
            pass
sys.exit(1)
""",
        ANY - OK,
        num_tests=2,
    ),
)
