"""What Landlock takes away is tried for real in a child that restricted itself."""

import errno
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from forked import in_child

from verifiers.sandbox.inside import landlock

ABI = landlock.abi()
SYSTEM = ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache"]

needs_landlock = pytest.mark.skipif(not ABI, reason="this kernel has no Landlock")


def needs(version: int):
    return pytest.mark.skipif(version > ABI, reason=f"Landlock's version here is {ABI}")


def attempt(act) -> str:
    """ "" when it works, else the error's short name."""
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return ""


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """One that is granted, one that is not; each with a file in it."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "file").write_text("text")
    return inside, outside


@needs_landlock
def test_only_what_is_named_can_be_read(folders):
    inside, outside = folders

    def act():
        landlock.restrict(read=[str(inside)], write=[])
        readable = (inside / "file").read_text()
        touched = (outside / "file", outside, inside.parent, Path("/etc/passwd"), Path("/proc/1"))
        return readable, [attempt(lambda p=p: os.open(p, os.O_RDONLY)) for p in touched]

    assert in_child(act) == ["text", ["EACCES"] * 5]


@needs_landlock
def test_writing_works_where_it_is_granted_and_nowhere_else(folders):
    inside, outside = folders

    def act():
        landlock.restrict(read=[str(outside)], write=[str(inside), "/dev/null"])
        (inside / "folder").mkdir()
        (inside / "folder" / "new").write_text("new")
        os.rename(inside / "folder" / "new", inside / "moved")
        os.truncate(inside / "moved", 1)
        os.remove(inside / "file")
        Path("/dev/null").write_text("gone")
        return [
            (inside / "moved").read_text(),
            attempt(lambda: (outside / "file").write_text("changed")),
            attempt(lambda: os.remove(outside / "file")),
            attempt(lambda: (outside / "folder").mkdir()),
            attempt(lambda: os.symlink("file", outside / "link")),
            attempt(lambda: os.rename(inside / "moved", outside / "moved")),
            attempt(lambda: os.link(outside / "file", inside / "link")),
        ]

    worked, *refused = in_child(act)
    assert worked == "n"
    assert set(refused) <= {"EACCES", "EXDEV"}
    assert os.listdir(outside) == ["file"] and (outside / "file").read_text() == "text"


@needs(3)
def test_a_file_that_may_only_be_read_is_not_truncated(folders):
    inside, _ = folders

    def act():
        landlock.restrict(read=[str(inside)], write=[])
        return attempt(lambda: os.truncate(inside / "file", 0))

    assert in_child(act) == "EACCES"


@needs_landlock
def test_device_nodes_are_refused_even_in_a_writable_folder(tmp_path):
    def act():
        landlock.restrict(read=[], write=[str(tmp_path)])
        os.mkfifo(tmp_path / "fifo")
        whiteout = 0o020600  # a character device, but no privilege is asked for it
        return attempt(lambda: os.mknod(tmp_path / "device", whiteout, 0))

    assert in_child(act) == "EACCES"


@needs_landlock
def test_paths_that_do_not_exist_are_skipped_and_programs_run():
    def act():
        landlock.restrict(read=[*SYSTEM, "/no/such/folder"], write=["/dev/null", "/no/such"])
        return subprocess.run(["/usr/bin/id", "-u"], capture_output=True, text=True).stdout

    assert in_child(act).strip() == str(os.getuid())


@needs(4)
def test_tcp_is_refused_both_ways():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

        def act():
            landlock.restrict(read=["/"], write=[])
            return [
                attempt(lambda: socket.create_connection(address)),
                attempt(lambda: socket.create_server(("127.0.0.1", 0))),
            ]

        assert in_child(act) == ["EACCES", "EACCES"]
        assert in_child(lambda: attempt(lambda: socket.create_connection(address))) == ""


@needs(5)
def test_devices_take_no_commands():
    def act():
        asked = []
        for restricted in (False, True):
            if restricted:
                landlock.restrict(read=["/"], write=["/dev"])
            terminal = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
            asked.append(attempt(lambda: os.get_terminal_size(terminal)))  # noqa: B023
        return asked

    assert in_child(act) == ["", "EACCES"]


def outer_contacts() -> list[str]:
    """Reach for an abstract socket and a process that are outside."""
    with socket.socket(socket.AF_UNIX) as server:
        name = f"\0align-test-{os.getpid()}"
        server.bind(name)
        server.listen()

        def act():
            scoped = landlock.scope()
            with socket.socket(socket.AF_UNIX) as client:
                connected = attempt(lambda: client.connect(name))
            return [scoped, connected, attempt(lambda: os.kill(os.getppid(), 0))]

        return in_child(act)


@needs(6)
def test_scope_cuts_off_abstract_sockets_and_signals():
    assert outer_contacts() == [True, "EPERM", "EPERM"]


def test_scope_says_no_below_version_6(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 5)
    assert outer_contacts() == [False, "", ""]


@needs(6)
def test_processes_within_one_scope_still_signal_each_other():
    def act():
        landlock.scope()
        sleeper = subprocess.Popen(["sleep", "60"])
        sleeper.send_signal(signal.SIGKILL)
        return sleeper.wait()

    assert in_child(act) == -signal.SIGKILL


@needs(6)
@pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")
def test_bubblewrap_mounts_within_a_scope():
    argv = ["bwrap", "--ro-bind", "/", "/", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"]
    argv += ["--unshare-all", "sh", "-c", "echo > /tmp/file && echo worked"]

    def start():
        return subprocess.run(argv, capture_output=True, text=True)

    def act():
        landlock.scope()
        return start().stdout

    free = start()
    if free.returncode:
        pytest.skip(f"bubblewrap doesn't work here: {free.stderr.strip()}")
    assert in_child(act) == "worked\n"


def test_without_landlock_restrict_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(OSError, match="lsm="):
        landlock.restrict(read=["/"], write=[])
