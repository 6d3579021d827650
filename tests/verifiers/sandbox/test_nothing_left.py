"""However a sandbox ends, and whoever kills its parts: nothing of it stays on the machine."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from verifiers.sandbox import Limits, Sandbox, SandboxUnavailable, Test
from verifiers.sandbox.slot import FIRST_UID, NUM_UIDS

KEEPER = "verifiers.sandbox.keeper"
ROOT = Path(__file__).parents[3]

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
print(1)
"""
BOMB = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""
CHECK = "assert candidate(2) == 4"


def jobs(sandbox: Sandbox) -> dict[str, tuple[Callable, set[str]]]:
    """What to run, and the verdicts that are right for it."""
    brief = Limits(cpu_s=1, wall_s=0.3)
    small = Limits(cpu_s=1, wall_s=0.5, processes=16)
    thrice = [Test(str(i), f"{i}", expected_stdout=f"{i}") for i in range(3)]
    return {
        "quick": (lambda: sandbox.run("python", "print(input())", stdin="1"), {"accepted"}),
        "tests": (lambda: sandbox.run("bash", "cat", tests=thrice), {"accepted"}),
        "compiled": (lambda: sandbox.run("c", "int main() { return 3; }"), {"runtime_error"}),
        "late": (
            lambda: sandbox.run("bash", "sleep 100", limits=brief),
            {"time_wall"},
        ),
        "bomb": (
            lambda: sandbox.run("python", BOMB, limits=small),
            {"time_wall", "time_cpu", "pids_limit"},
        ),
        "daemon": (lambda: sandbox.run("python", DAEMON), {"accepted"}),
        "examined": (
            lambda: sandbox.examine("def double(x): return 2 * x", [CHECK], "double"),
            {"accepted"},
        ),
        "called": (lambda: sandbox.call("def f(x): return x", "f", [5]), {"accepted"}),
    }


MIX = ["quick"] * 50 + ["tests"] * 10 + ["compiled"] * 3 + ["late"] * 4 + ["bomb"] * 2
MIX += ["daemon"] * 5 + ["examined"] * 12 + ["called"] * 14


def processes() -> dict[int, tuple[int, int, str]]:
    """Of each: its parent, its user, and its command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state in "ZX":  # ended, and waits for its parent to notice
                    continue
                words = (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
                found[int(entry.name)] = int(parent), entry.stat().st_uid, words
    return found


def below(pid: int, known: dict[int, tuple[int, int, str]]) -> set[int]:
    found, new = set(), {pid}
    while new:
        new = {child for child, (parent, _, _) in known.items() if parent in new} - found
        found |= new
    return found


def keepers(pid: int) -> set[int]:
    known = processes()
    return {child for child in below(pid, known) if KEEPER in known[child][2]}


def remains(seen: set[int]) -> list[str]:
    """What is left of keepers with these process ids."""
    users = {FIRST_UID + pid % NUM_UIDS for pid in seen} if os.geteuid() == 0 else set()
    left = [
        f"process {pid}: {words[:80]}"
        for pid, (_, uid, words) in processes().items()
        if pid in seen or uid in users
    ]
    groups = Path("/sys/fs/cgroup").rglob("align-*")
    for folder in (*groups, *Path(tempfile.gettempdir()).glob("align-*")):
        numbers = folder.name.removeprefix("align-sandbox-").removeprefix("align-").split("-")
        if numbers[0].isdigit() and int(numbers[0]) in seen:
            left.append(str(folder))
    return left


def gone(seen: set[int], within_s: float) -> bool:
    """Whether nothing is left after so long: what was killed takes a moment to end."""
    deadline = time.monotonic() + within_s
    while left := remains(seen):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    return True


def opened() -> int:
    return len(os.listdir("/proc/self/fd"))


def mounts() -> int:
    return len(Path("/proc/self/mountinfo").read_text().splitlines())


class Killer(threading.Thread):
    """Kills keepers, and what runs below them, at random; counts how often it did.

    spared: keepers of another sandbox.
    """

    def __init__(self, seed: int, spared: set[int]) -> None:
        super().__init__(daemon=True)
        self.spared = spared
        self.random = random.Random(seed)
        self.seen: set[int] = set()
        self.killed = Counter()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(self.random.uniform(0.02, 0.2)):
            known = processes()
            inside = below(os.getpid(), known)
            for pid in self.spared:
                inside -= {pid} | below(pid, known)
            leaders = {
                pid for pid in inside if KEEPER in known[pid][2] and known[pid][0] == os.getpid()
            }
            self.seen |= leaders
            every_sixth = self.killed.total() % 6 == 5
            victims = leaders if every_sixth else inside - leaders
            if victims:
                victim = self.random.choice(sorted(victims))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    kind = "keeper" if victim in leaders else known[victim][2].split(" ")[0]
                    self.killed[kind] += 1


@pytest.mark.slow
@pytest.mark.parametrize(("level", "count"), [(3, 1000), (2, 300)])
def test_a_thousand_jobs_under_fire_leave_nothing(level, count):
    before = opened(), mounts()
    others = keepers(os.getpid())
    killer = Killer(level, others)
    try:
        with Sandbox(min_level=level, max_level=level, workers=4) as sandbox:
            todo = jobs(sandbox)
            names = random.Random(1).choices(MIX, k=count)
            killer.start()
            with ThreadPoolExecutor(8) as threads:
                results = list(threads.map(lambda name: todo[name][0](), names))
            killer.over.set()
            killer.join()
            killer.seen |= keepers(os.getpid()) - others
            assert todo["quick"][0]().accepted
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    assert len(results) == count
    wrong = [
        f"{name}: {result.verdict} {result.detail}"
        for name, result in zip(names, results, strict=True)
        if result.verdict not in todo[name][1]
    ]
    assert killer.killed["keeper"] > 2
    assert killer.killed.total() > count / 20
    # No kill can spoil more than the one job that its victim worked on.
    assert len(wrong) <= killer.killed.total(), wrong
    assert gone(killer.seen, within_s=1)
    assert (opened(), mounts()) == before


WITHOUT_END = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from verifiers.sandbox import Limits, Sandbox
level = int(sys.argv[1])
long = Limits(cpu_s=100, wall_s=100, processes=8)
programs = {[DAEMON, "import time; time.sleep(100)", BOMB, "while True: pass"]!r}
with Sandbox(min_level=level, max_level=level, workers=5) as sandbox:
    sandbox.call("def f(): return 1", "f", [])
    print("ready", flush=True)
    with ThreadPoolExecutor(8) as threads:
        runs = [threads.submit(sandbox.run, "python", p, limits=long) for p in programs]
        runs.append(threads.submit(sandbox.call, "def f():\\n while True: pass", "f", limits=long))
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", [3, 2, 1])
def test_with_its_owner_killed_a_sandbox_ends(level):
    owner = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_END, str(level)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with owner:
        if not owner.stdout.readline():
            pytest.skip(owner.stderr.read().decode().splitlines()[-1])
        time.sleep(1.0)
        seen = keepers(owner.pid)
        assert len(seen) >= 4
        assert len(below(owner.pid, processes())) >= 8
        owner.kill()
    assert gone(seen, within_s=2)


def test_closing_leaves_nothing():
    before = opened(), mounts()
    others = keepers(os.getpid())
    try:
        with Sandbox(workers=2) as sandbox:
            assert sandbox.run("python", DAEMON).accepted
            seen = keepers(os.getpid()) - others
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    assert seen
    assert gone(seen, within_s=1)
    assert (opened(), mounts()) == before
