"""Hostile programs against every level of isolation that this machine gives.

The programs are data, in `attacks/`. All are run once a level, several at a time, before the tests
look at what became of each.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.verifiers.sandbox.attacks import ATTACKS, HOSTILE
from tests.verifiers.sandbox.attacks.host import OUTSIDER, host, unconfined
from tests.verifiers.sandbox.attacks.running import Outcome, run_all
from verifiers.sandbox import Sandbox, SandboxUnavailable

EVERY = {attack.number: attack for attack in (*ATTACKS, *HOSTILE)}
SLOW = {attack.number for attack in ATTACKS if attack.slow}
FAST = sorted(EVERY.keys() - SLOW)
NAMES = {"ids": lambda number: f"{number:g} {EVERY[number].title}"}

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def canaries():
    with host() as canaries:
        yield canaries


@pytest.fixture(scope="module", params=[3, 2], ids=["level 3", "level 2"])
def sandbox(request, canaries):
    try:
        with Sandbox(min_level=request.param, max_level=request.param) as sandbox:
            yield sandbox
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def outcomes(canaries, sandbox):
    return run_all(sandbox, canaries, [EVERY[number] for number in FAST])


def check(outcome: Outcome) -> None:
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.ok, outcome


@pytest.mark.parametrize("number", FAST, **NAMES)
def test_the_attack_gets_nowhere(number, outcomes):
    check(outcomes[number])


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(SLOW), **NAMES)
def test_the_attack_on_a_slow_compiler_gets_nowhere(number, canaries, sandbox):
    check(run_all(sandbox, canaries, [EVERY[number]])[number])


def test_nothing_has_happened_outside(outcomes, canaries):
    assert outcomes
    assert canaries.changes() == []
    assert canaries.daemons() == []


def test_without_a_sandbox_the_same_attacks_get_through():
    """Else their failure would prove nothing."""
    must = {20, 21, 23, 26, 55, 58, 62, 64, 66, 67, 68, 69, 72, 103, 107}
    with host() as canaries:
        through = set()
        for attack in ATTACKS:
            if attack.bare and attack.language == "python":
                output = unconfined(canaries, attack.program)
                if "BREACH:" in output or canaries.token in output:
                    through.add(attack.number)
        assert canaries.changes()
    assert must <= through
    assert len(through) > 35, sorted(through)


def test_every_published_attack_is_here():
    whole = {int(attack.number) for attack in EVERY.values()}
    assert set(range(1, 101)) <= whole
    assert len(EVERY) == len(ATTACKS) + len(HOSTILE)


def runner(level: int, python: str, folder: Path, **user) -> subprocess.CompletedProcess:
    return subprocess.run(
        [python, "-m", "tests.verifiers.sandbox.attacks", "--level", str(level)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        **user,
    )


def failures(done: subprocess.CompletedProcess) -> list[dict]:
    assert done.stdout, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(EVERY) + 1
    return [line for line in lines[:-1] if not line["ok"] and not line["weaker"]]


@pytest.fixture
def public():
    """A copy of what the attacks need that every user may read, and a Python for it."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    version = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if os.geteuid() != 0 or not python or subprocess.run(version).returncode:
        pytest.skip("needs root, and a Python of 3.11 or newer that other users may run")
    with tempfile.TemporaryDirectory(prefix="align-public-") as folder:
        os.chmod(folder, 0o755)
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "verifiers", Path(folder, "verifiers"), ignore=skip)
        tests = Path("tests", "verifiers", "sandbox", "attacks")
        shutil.copytree(ROOT / tests, Path(folder) / tests, ignore=skip)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        yield python, Path(folder)


@pytest.mark.slow
def test_an_ordinary_user_is_as_safe_as_root(public):
    python, folder = public
    user = {"user": OUTSIDER - 1, "group": OUTSIDER - 1, "extra_groups": []}
    done = runner(2, python, folder, **user)
    assert failures(done) == []
    assert json.loads(done.stdout.splitlines()[-1])["changes"] == []


@pytest.mark.slow
def test_landlock_alone_holds_but_where_it_says():
    done = runner(1, sys.executable, ROOT)
    if "SandboxUnavailable" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert failures(done) == []
