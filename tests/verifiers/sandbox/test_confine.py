"""Limits, rights and namespaces, as the kernel tells them from a child that gave them up."""

import os
import resource
import signal
import time
from pathlib import Path

import pytest
from forked import Killed, in_child

from verifiers.sandbox.inside import confine

NOBODY = 61184
ROOT = os.geteuid() == 0
MEBIBYTE = 1 << 20

needs_root = pytest.mark.skipif(not ROOT, reason="needs root")


def own_namespaces(*names: str) -> None:
    """New ones; in a new user namespace too where we are not root."""
    if not ROOT:
        user, group = os.getuid(), os.getgid()
        confine.unshare("user")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    confine.unshare(*names)


def namespaces_work() -> bool:
    try:
        in_child(lambda: own_namespaces("mount", "net"))
    except AssertionError:
        return False
    return True


needs_namespaces = pytest.mark.skipif(not namespaces_work(), reason="namespaces are refused here")


def status(*fields: str) -> dict[str, str]:
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    pairs = (line.split(":\t", 1) for line in lines if ":\t" in line)
    return {name: value for name, value in pairs if name in fields}


def set_limits(**changed) -> None:
    usual = {"cpu_s": 5, "file_bytes": MEBIBYTE, "open_files": 64, "stack_bytes": 8 * MEBIBYTE}
    confine.set_limits(**{**usual, **changed})


def test_limits_are_those_asked_for():
    def act():
        set_limits(cpu_s=1.2, processes=50, address_space=1 << 34)
        return {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in expected}

    expected = {"CPU": [2, 3], "FSIZE": [MEBIBYTE] * 2, "NOFILE": [64] * 2}
    expected |= {"STACK": [8 * MEBIBYTE] * 2, "CORE": [0, 0], "NICE": [0, 0], "RTPRIO": [0, 0]}
    expected |= {
        "MEMLOCK": [65536] * 2,
        "MSGQUEUE": [65536] * 2,
        "NPROC": [50] * 2,
        "AS": [1 << 34] * 2,
    }
    assert in_child(act) == expected


def test_limits_not_asked_for_stay_and_none_is_raised():
    def act():
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 30))
        before = resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_NPROC)
        set_limits(open_files=1000)
        after = resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_NPROC)
        return before == after, resource.getrlimit(resource.RLIMIT_NOFILE)

    assert in_child(act) == [True, [30, 30]]


def test_cpu_time_ends_a_spinning_process():
    def act():
        set_limits(cpu_s=0.5)
        while True:
            pass

    with pytest.raises(Killed) as killed:
        in_child(act)
    assert killed.value.args[0] == signal.SIGXCPU


def test_no_capability_is_left():
    def act():
        confine.drop_capabilities()
        return status("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd", "NoNewPrivs")

    left = in_child(act)
    bounding = left.pop("CapBnd")
    assert left.pop("NoNewPrivs") == "1"
    assert {int(value, 16) for value in left.values()} == {0}
    if ROOT:
        assert int(bounding, 16) == 0


@needs_root
def test_without_capabilities_root_has_no_power_nor_do_its_programs():
    def act():
        confine.drop_capabilities()
        try:
            os.chroot("/")
        except PermissionError:
            return os.system("chroot / true 2> /dev/null")

    assert in_child(act) != 0


@needs_root
def test_a_dropped_user_is_dropped_for_good():
    def act():
        confine.drop_user(NOBODY, NOBODY)
        try:
            os.setuid(0)
        except PermissionError:
            return [os.getresuid(), os.getresgid(), os.getgroups(), status("CapPrm", "CapEff")]

    ids, groups, others, capabilities = in_child(act)
    assert ids == groups == [NOBODY] * 3 and others == []
    assert {int(value, 16) for value in capabilities.values()} == {0}


@needs_root
@pytest.mark.parametrize("ids", [(0, 0), (NOBODY, 0), (0, NOBODY)])
def test_a_user_or_group_that_is_still_roots_is_an_error(ids):
    with pytest.raises(AssertionError, match="still privileged"):
        in_child(lambda: confine.drop_user(*ids))


@needs_root
def test_capabilities_kept_through_the_change_of_user_are_an_error():
    keep_capabilities = 8

    def act():
        confine._prctl("PR_SET_KEEPCAPS", keep_capabilities, 1)
        confine.drop_user(NOBODY, NOBODY)

    with pytest.raises(AssertionError, match="still privileged"):
        in_child(act)


@pytest.mark.skipif(ROOT, reason="root may change its user")
def test_who_is_not_root_cannot_become_another():
    with pytest.raises(AssertionError, match="PermissionError"):
        in_child(lambda: confine.drop_user(NOBODY + 1, NOBODY + 1))


def test_a_process_that_is_not_dumpable_belongs_to_root_in_proc():
    def act():
        if ROOT:
            confine.drop_user(NOBODY, NOBODY)
        owners = []
        for dumpable in (True, False):
            confine.set_dumpable(dumpable)
            owners.append(os.stat(f"/proc/{os.getpid()}/fd").st_uid)
        return owners

    assert in_child(act) == [NOBODY if ROOT else os.getuid(), 0]


def test_the_death_of_the_parent_is_a_signal():
    reader, writer = os.pipe()

    def act():
        if os.fork() == 0:
            confine.parent_death_signal(signal.SIGKILL)
            os.write(writer, b"ready")
            time.sleep(60)
            os._exit(0)
        return os.read(reader, 5) == b"ready"

    started = time.monotonic()
    assert in_child(act)
    os.close(writer)
    assert os.read(reader, 1) == b""  # the grandchild's end of the pipe is closed: it is dead
    os.close(reader)
    assert time.monotonic() - started < 10


def test_orphans_come_to_the_subreaper():
    def act():
        confine.subreaper()
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                time.sleep(0.05)
                os._exit(7)
            os._exit(0)
        os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(os.wait()[1])

    assert in_child(act) == 7


@needs_namespaces
def test_mounts_are_private_to_the_namespace_and_flags_hold(tmp_path):
    def act():
        own_namespaces("mount")
        confine.mount("", "/", "", confine.RECURSIVE | confine.PRIVATE)
        flags = confine.NO_SUID | confine.NO_DEVICES | confine.NO_EXEC
        confine.mount("tmpfs", str(tmp_path), "tmpfs", flags, "size=1m")
        (tmp_path / "file").write_text("text")
        confine.mount("", str(tmp_path), "", flags | confine.REMOUNT | confine.READ_ONLY)
        found = os.statvfs(tmp_path)
        try:
            (tmp_path / "other").write_text("text")
        except OSError as error:
            return [found.f_blocks * found.f_frsize, found.f_flag & 0xF, error.strerror]

    assert in_child(act) == [MEBIBYTE, 0xF, "Read-only file system"]
    assert os.listdir(tmp_path) == []


@needs_root
def test_a_process_can_come_back_to_its_pid_namespace():
    def act():
        home = os.open("/proc/self/ns/pid", os.O_RDONLY)
        confine.unshare("pid")
        confine.enter_namespace(home)
        child = os.fork()
        if child == 0:
            os._exit(int(os.getpid() == 1))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert in_child(act) == 0


def test_errors_name_the_call():
    with pytest.raises(OSError, match=r"mount\(nosuchkind on /nowhere\): "):
        confine.mount("", "/nowhere", "nosuchkind", 0)
    with pytest.raises(OSError, match="setns: "):
        confine.enter_namespace(-1)
