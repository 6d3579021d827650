"""Groups that really limit, count and end: hogs, fork bombs and owners that died."""

import errno
import os
import signal
import subprocess
import time

import pytest
from forked import in_child

from verifiers.sandbox import cgroup_files, cgroups

MEBIBYTE = 1 << 20

needs_groups = pytest.mark.skipif(not cgroups.available(), reason=cgroups.why())


@pytest.fixture
def group():
    made = cgroups.Group("test")
    made.set(64 * MEBIBYTE, 20)
    yield made
    made.kill()
    made.remove()


def start(group: cgroups.Group, act) -> int:
    """A child that runs `act` in the group; its pid."""
    child = os.fork()
    if child == 0:
        try:
            group.enter()
            act()
        finally:
            os._exit(0)
    return child


def run(group: cgroups.Group, act) -> int:
    """Its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(start(group, act), 0)[1])


def hog() -> None:
    bytearray(200 * MEBIBYTE)


def small(source: str) -> None:
    """Go on as a small Python process: forks of a test process that has grown fill the group."""
    os.execvp("python3", ["python3", "-I", "-S", "-c", source])


def bomb() -> None:
    small("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass")


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@needs_groups
def test_a_memory_hog_is_killed_and_counted(group):
    assert run(group, hog) == -signal.SIGKILL
    usage = group.usage()
    assert usage["oom_kills"] == 1
    assert usage["memory_peak_bytes"] in (None, 64 * MEBIBYTE)


@needs_groups
def test_a_modest_process_is_neither(group):
    assert run(group, lambda: bytearray(20 * MEBIBYTE)) == 0
    usage = group.usage()
    assert usage["oom_kills"] == usage["forks_refused"] == 0
    assert usage["memory_peak_bytes"] is None or usage["memory_peak_bytes"] > 20 * MEBIBYTE


@needs_groups
def test_memory_is_shared_by_all_processes_of_the_group(group):
    def three():
        keep = [bytearray(25 * MEBIBYTE)]
        children = [os.fork() for _ in range(2)]
        keep.append(bytearray(25 * MEBIBYTE))
        time.sleep(0.3 * len(keep))
        return children

    run(group, three)
    assert group.usage()["oom_kills"] >= 1


@needs_groups
def test_forks_past_the_limit_are_refused_and_counted(group):
    def many():
        small(
            "import os, time\n"
            "for _ in range(40):\n"
            "    try:\n"
            "        if os.fork() == 0: time.sleep(60)\n"
            "    except OSError: pass"
        )

    run(group, many)
    assert len(group.pids()) == 19
    assert group.usage()["forks_refused"] == 21


@needs_groups
def test_kill_leaves_nothing_of_a_fork_bomb(group):
    group.set(512 * MEBIBYTE, 100)
    first = start(group, bomb)
    wait_until(lambda: len(group.pids()) > 90)
    group.kill()
    assert group.pids() == []
    os.waitpid(first, 0)


@needs_groups
def test_kill_ends_daemons_and_processes_that_ignore_or_stop_themselves(group):
    def daemons():
        for stops in (True, False):
            if os.fork() == 0:
                os.setsid()
                for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                    signal.signal(number, signal.SIG_IGN)
                if stops:
                    os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(60)

    run(group, daemons)
    assert len(group.pids()) == 2
    group.kill()
    assert group.pids() == []


@needs_groups
def test_kill_spares_the_caller_who_entered_the_group(group):
    def act():
        group.enter()
        try:
            group.kill()
        except OSError as error:
            return error.errno

    assert in_child(act) == errno.EINVAL


@needs_groups
def test_cpu_time_is_counted(group):
    def spin():
        while time.process_time() < 0.4:
            pass

    run(group, spin)
    cpu_s = group.usage()["cpu_s"]
    assert cpu_s is None or 0.2 < cpu_s < 1


@needs_groups
def test_counting_starts_again_at_reset(group):
    run(group, hog)
    group.reset()
    usage = group.usage()
    assert usage["oom_kills"] == usage["forks_refused"] == 0
    assert not usage["cpu_s"]
    assert (usage["memory_peak_bytes"] or 0) < 8 * MEBIBYTE
    assert run(group, hog) == -signal.SIGKILL  # the limits are still there


@needs_groups
def test_limits_can_be_raised_and_lowered(group):
    group.set(512 * MEBIBYTE, 20)
    assert run(group, hog) == 0
    group.reset()
    group.set(32 * MEBIBYTE, 20)
    assert run(group, hog) == -signal.SIGKILL


@needs_groups
def test_another_process_can_be_put_in(group):
    sleeper = subprocess.Popen(["sleep", "60"])
    group.enter(sleeper.pid)
    assert group.pids() == [sleeper.pid]
    group.kill()
    assert sleeper.wait() == -signal.SIGKILL


@needs_groups
def test_groups_nest_under_our_own_or_beside_it_and_go_when_removed():
    made = cgroups.Group("place")
    own = set(cgroup_files._own_folders().values())
    folders = made._at.folders
    allowed = own | {os.path.dirname(folder) for folder in own}
    assert {os.path.dirname(folder) for folder in folders} <= allowed
    assert all(map(os.path.isdir, folders))
    made.remove()
    assert not any(map(os.path.exists, folders))


@needs_groups
def test_sweep_ends_and_removes_what_dead_owners_left_and_nothing_else(group):
    def leave_behind():
        left = cgroups.Group("left")
        start(left, lambda: time.sleep(60))
        wait_until(left.pids)
        return left._at.folders

    folders = in_child(leave_behind)
    sleeper = start(group, lambda: time.sleep(60))
    wait_until(lambda: group.pids() == [sleeper])
    assert cgroups.sweep() >= 1
    assert not any(map(os.path.exists, folders))  # one with a process in it can't be removed
    assert group.pids() == [sleeper]
    group.kill()
    os.waitpid(sleeper, 0)


def test_a_group_is_abandoned_only_when_its_owner_is_surely_gone():
    identity = cgroups._identity(os.getpid())
    pid, started, namespace = identity.split("-")
    assert not cgroups._abandoned(f"align-{identity}-x")
    assert cgroups._abandoned(f"align-{pid}-{int(started) - 1}-{namespace}-x")
    assert not cgroups._abandoned(f"align-{pid}-{int(started) - 1}-{int(namespace) + 1}-x")
    for name in ("user.slice", "align-members-1", f"align-{identity}", "align-1-2-x"):
        assert not cgroups._abandoned(name)


@pytest.mark.skipif(bool(cgroups.available()), reason="groups work here")
def test_without_groups_the_reason_and_a_remedy_are_given():
    assert "no control groups" in cgroups.why()
    with pytest.raises(OSError):
        cgroups.Group("test")


def test_a_probe_that_fails_halfway_says_why_and_leaves_nothing(monkeypatch):
    if not cgroups.available():
        pytest.skip(cgroups.why())

    def refused(self, pid):
        raise OSError(errno.EPERM, "not you")

    monkeypatch.setattr(cgroup_files.Folders, "enter", refused)
    kind, why = cgroups._probe.__wrapped__()
    assert kind is None
    assert "can't enter its group: Operation not permitted" in why and "run as root" in why
    homes = cgroup_files.version().homes()
    assert not [n for home in homes for n in os.listdir(home) if n.endswith("-probe")]
