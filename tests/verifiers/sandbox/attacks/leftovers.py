"""Attacks of one test on the next, and on the cleaning in between."""

from .attack import ANY, OK, Attack, Limits

LEFTOVERS = (
    Attack(
        120,
        "notes for the next test in every file system",
        """
import mmap
for folder in (TMP, OUT, "/dev", "/dev/shm", "/dev/mqueue", "/w", "/run", "/var/tmp", "/proc",
               "/run/align", "/etc", "/usr/local"):
    note = folder + "/.note"
    if os.path.lexists(note):
        breach(note)
    try:
        os.mkdir(note)
    except OSError:
        pass
""",
        num_tests=2,
    ),
    Attack(
        121,
        "notes for the next test in IPC objects",
        """
CREATE = 0o1000
try:
    call(libc.shmget, 4711, 4096, 0o600)
    breach("shared memory")
except OSError:
    libc.shmget(4711, 4096, CREATE | 0o600)
try:
    call(libc.semget, 4711, 1, 0o600)
    breach("semaphores")
except OSError:
    libc.semget(4711, 1, CREATE | 0o600)
try:
    call(libc.msgget, 4711, 0o600)
    breach("messages")
except OSError:
    libc.msgget(4711, CREATE | 0o600)
librt = ctypes.CDLL("librt.so.1", use_errno=True)
try:
    call(librt.mq_open, b"/note", os.O_RDONLY)
    breach("message queue")
except OSError:
    librt.mq_open(b"/note", os.O_RDWR | os.O_CREAT, 0o600, None)
""",
        num_tests=2,
        level_1="IPC objects are the host's",
    ),
    Attack(
        122,
        "folders that the cleaner may not enter",
        """
os.makedirs(TMP + "/a/b/c")
open(TMP + "/a/b/c/note", "w").close()
for folder in ("/a/b/c", "/a/b", "/a"):
    os.chmod(TMP + folder, 0)
for folder in (TMP, OUT, "/dev/shm"):
    try:
        os.chmod(folder, 0)
    except OSError as error:
        print("refused", error)
""",
        num_tests=3,
    ),
    Attack(
        123,
        "folders too deep for the cleaner",
        """
if os.listdir(TMP):
    breach(os.listdir(TMP))
os.chdir(TMP)
for _ in range(3000):
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
open("note", "w").close()
""",
        num_tests=2,
    ),
    Attack(
        124,
        "names that the cleaner may misread",
        r"""
if os.listdir(TMP):
    breach(os.listdir(TMP))
for name in ("-delete", "-exec", "a\nb", "\x01\x1b[2J", "*", "; rm -rf w", "\udcff\udcfe",
             "é" * 100):
    os.mkdir(os.path.join(TMP, name))
os.symlink("/w", TMP + "/link")
os.mkfifo(TMP + "/pipe")
""",
        num_tests=2,
    ),
    Attack(
        125,
        "the program replaced between two tests",
        r"""
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char note[4096];
    snprintf(note, sizeof note, "%s.note", argv[0]);
    if (access(note, F_OK) == 0) puts("BREACH:a note for the next test");
    mkdir(note, 0700);
    if (rename(argv[0], strcat(note, "/old")) == 0) {
        puts("BREACH:the program is gone");
        mkfifo(argv[0], 0700);
    }
    return 0;
}
""",
        language="c",
        num_tests=2,
    ),
    Attack(
        126,
        "the compiler's output made unusable",
        r"""
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
    printf("%d\n", chmod(argv[0], 0));
    return 1;
}
""",
        ANY - OK,
        language="c",
        num_tests=2,
    ),
    Attack(
        127,
        "files without end in every folder",
        """
for folder in ("/dev/shm", "/dev", OUT, TMP):
    try:
        for index in range(64):
            with open(f"{folder}/{index}", "wb", buffering=0) as file:
                file.write(bytes(4 << 20))
        breach(f"256 MiB in {folder}")
    except OSError as error:
        print("refused", error, flush=True)
""",
        OK,
        num_tests=2,
        limits=Limits(cpu_s=4, wall_s=20, disk_bytes=16 << 20),
        level_1="the disk is the host's, with no quota of its own",
    ),
)
