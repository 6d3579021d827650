"""Attacks on the file system: the host's files, the program's own sources, devices."""

from .attack import ANY, FILE, NONZERO, OK, Attack

_SEES_MOST = "/proc and the file system's names are the host's; Landlock hides contents only"

FILES = (
    Attack(20, "read /etc/passwd", "breach(read('/etc/passwd'))", NONZERO, bare=True),
    Attack(21, "read a file of the host's", "breach(read(HOST['secret']))", NONZERO, bare=True),
    Attack(
        22,
        "read through /proc/1/root",
        "breach(read('/proc/1/root' + HOST['secret']))",
        NONZERO,
    ),
    Attack(
        23,
        "list /",
        """
def known(name):
    return name in "bin sbin lib lib32 lib64 libx32 usr etc proc dev tmp out w run".split()
def found():
    names = [name for name in os.listdir("/") if not known(name)]
    if not names:
        raise OSError(errno.ENOENT, "nothing")
    return names
refused("more than the sandbox's own", found)
""",
        bare=True,
    ),
    Attack(24, "write into /usr", "open('/usr/planted', 'w'); breach('/usr')", NONZERO),
    Attack(25, "write into /", "open('/planted', 'w'); breach('/')", NONZERO),
    Attack(
        26,
        "overwrite the program's own source",
        "open(sys.argv[0], 'w').write('print(1)'); breach('source overwritten')",
        NONZERO,
        bare=True,
    ),
    Attack(
        27,
        "replace the program's own source",
        """
open(TMP + "/new", "w").write("print(1)")
try:
    os.rename(TMP + "/new", sys.argv[0])
except OSError as error:
    if error.errno != errno.EXDEV:
        raise
    os.rename(sys.argv[0], sys.argv[0] + "~")
breach("source replaced")
""",
        NONZERO,
        bare=True,
    ),
    Attack(
        28,
        "remove the program's own source",
        "os.unlink(sys.argv[0]); breach('source removed')",
        NONZERO,
        bare=True,
    ),
    Attack(
        29,
        "write kernel settings",
        """
for name in ("kernel/core_pattern", "kernel/panic", "kernel/hostname", "vm/drop_caches",
             "net/ipv4/ip_forward", "kernel/ns_last_pid", "fs/binfmt_misc/register"):
    refused(name, write, "/proc/sys/" + name)
refused("sysrq", write, "/proc/sysrq-trigger", "h")
""",
    ),
    Attack(
        30,
        "open devices of the host's",
        """
for name in ("mem", "kmem", "port", "kvm", "vda", "sda", "nvme0n1", "vsock", "fuse", "loop-control",
             "loop0", "uinput", "net/tun", "kmsg", "vhost-net", "userfaultfd", "snd/seq", "rtc0",
             "cuse", "hwrng", "ppp", "uhid", "btrfs-control", "mapper/control", "nvidiactl"):
    refused(name, os.open, "/dev/" + name, os.O_RDONLY)
""",
    ),
    Attack(
        31,
        "make a device",
        """
import stat
refused("block", os.mknod, TMP + "/vda", stat.S_IFBLK | 0o600, os.makedev(254, 0))
refused("character", os.mknod, TMP + "/mem", stat.S_IFCHR | 0o600, os.makedev(1, 1))
refused("null", os.mknod, TMP + "/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
""",
    ),
    Attack(
        32,
        "mount, and remount for writing",
        """
READ_ONLY, REMOUNT, BIND = 1, 32, 4096
for place in (b"/", b"/usr", b"/w"):
    refused(place, call, libc.mount, None, place, None, ctypes.c_ulong(REMOUNT | BIND), None)
refused("tmpfs", call, libc.mount, b"t", TMP.encode(), b"tmpfs", ctypes.c_ulong(0), None)
refused("umount", call, libc.umount2, b"/usr", 2)
refused("pivot_root", syscall, number(155, 41), b"/tmp", b"/tmp")
""",
    ),
    Attack(
        33,
        "gain rights from setuid programs",
        """
for program in ("su", "mount", "umount", "passwd", "chsh", "newgrp", "gpasswd", "sudo", "pkexec"):
    path = "/usr/bin/" + program
    if not os.path.exists(path):
        continue
    subprocess.run([path, "--help"], capture_output=True, stdin=subprocess.DEVNULL, timeout=10)
with open("/proc/self/status") as status:
    fields = dict(line.split(":", 1) for line in status)
if fields["NoNewPrivs"].strip() != "1":
    breach("setuid programs work")
subprocess.run(["cp", "/usr/bin/id", TMP + "/id"])
refused("setuid root", os.chown, TMP + "/id", 0, 0)
os.chmod(TMP + "/id", 0o6755)
ids = subprocess.run([TMP + "/id", "-u"], capture_output=True, text=True).stdout.strip()
if ids in ("", "0"):
    breach("user " + ids)
""",
        bare=True,
    ),
    Attack(
        34,
        "a setuid sandbox inside the sandbox",
        """
import shutil
for helper in ("firejail", "isolate", "bwrap", "unshare", "newuidmap", "fusermount", "fusermount3"):
    path = shutil.which(helper)
    more = {"bwrap": ["--ro-bind", "/", "/", "id"], "unshare": ["-Ur", "id"]}.get(helper, ["id"])
    if path and subprocess.run([path, *more], capture_output=True, timeout=10).returncode == 0:
        breach(helper)
sys.exit(1)
""",
        ANY,
    ),
    Attack(
        35,
        "chroot and out of it",
        """
def escape():
    os.mkdir(TMP + "/jail")
    os.chroot(TMP + "/jail")
    for _ in range(20):
        os.chdir("..")
    os.chroot(".")
    return read(HOST["secret"])
refused("chroot", escape)
""",
    ),
    Attack(
        36,
        "open_by_handle_at",
        """
AT_FDCWD = -100
class Handle(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("data", ctypes.c_char * 128)]
handle, mount = Handle(128, 0), ctypes.c_int()
refused("name_to_handle_at", syscall, number(303, 264), AT_FDCWD, b"/usr", ctypes.byref(handle),
        ctypes.byref(mount), 0)
usr = os.open("/usr", os.O_RDONLY)
root = Handle(8, 1, bytes([2, 0, 0, 0, 0, 0, 0, 0]))
refused("open_by_handle_at", syscall, number(304, 265), usr, ctypes.byref(root), 0)
""",
        bare=True,
    ),
    Attack(
        75,
        "links and pipes laid out for whoever collects the files",
        """
for name in ("a.txt", "result.json", "core", "output"):
    os.symlink(HOST["secret"], f"{TMP}/{name}")
os.symlink("/", TMP + "/root")
os.mkfifo(TMP + "/pipe")
os.symlink(TMP + "/loop", TMP + "/loop")
""",
        OK,
        num_tests=2,
    ),
    Attack(
        101,
        "hard links to files of the host's",
        """
refused("usr", os.link, "/usr/bin/env", TMP + "/env")
refused("source", os.link, sys.argv[0], TMP + "/source")
refused("secret", os.link, HOST["secret"], TMP + "/secret")
""",
        bare=True,
    ),
    Attack(
        102,
        "what /proc tells of the kernel and the host",
        """
for name in ("kcore", "kmsg", "timer_list", "slabinfo", "vmallocinfo", "kpagecount", "kpageflags",
             "sysrq-trigger"):
    refused(name, read, "/proc/" + name)
for name in ("kallsyms", "iomem"):
    try:
        shown = read("/proc/" + name)
    except OSError:
        continue
    if shown.strip(b"0")[:1] not in (b"", b" ", b"-"):
        breach(name + str(shown[:40]))
refused("/sys", os.listdir, "/sys")
""",
        bare=True,
    ),
    Attack(
        103,
        "the host's folders by name",
        """
for path in (HOST["folder"], "/root", "/home", "/var", "/boot", "/etc/shadow", "/etc/hostname",
             "/etc/resolv.conf", "/etc/ssh", "/srv", "/opt", "/mnt", "/run/user",
             "/run/docker.sock"):
    refused(path, os.stat, path)
""",
        bare=True,
        level_1=_SEES_MOST,
    ),
    Attack(
        104,
        "writes outside /tmp and /out",
        """
for folder, _, _ in os.walk("/", topdown=True):
    if folder.startswith(("/proc", TMP, OUT, "/dev/shm")):
        continue
    if folder.count("/") > 3:
        continue
    if os.access(folder, os.W_OK):
        refused(folder, open, folder + "/planted", "w")
""",
    ),
    Attack(
        105,
        "change owners and modes of files outside",
        """
refused("chown", os.chown, sys.argv[0], 0, 0)
refused("chmod source", os.chmod, sys.argv[0], 0o777)
refused("chmod usr", os.chmod, "/usr/bin/env", 0o777)
refused("chmod secret", os.chmod, HOST["secret"], 0o600)
refused("utime", os.utime, sys.argv[0])
""",
        bare=True,
        level_1="Landlock knows no right for chmod, so what the user owns it can chmod",
    ),
    Attack(
        106,
        "a disk full of holes",
        """
with open(TMP + "/sparse", "wb") as file:
    refused("truncate", file.truncate, 1 << 40)
""",
        OK | FILE,
        bare=True,
    ),
)
