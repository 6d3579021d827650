"""A sandbox that is not there, or does not hold, is found out before the first program runs."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from verifiers.sandbox import bubblewrap

SHOW = """
import json
from verifiers.sandbox import Sandbox, SandboxUnavailable
try:
    with Sandbox(workers=1) as sandbox:
        print(json.dumps(["level", sandbox.isolation.level, sandbox.isolation.why_not_more]))
except SandboxUnavailable as error:
    print(json.dumps(["refused", 0, str(error)]))
with Sandbox(workers=1, min_level=1, allow_unsandboxed=True) as sandbox:
    done = sandbox.run("python", "print(1)")
    print(json.dumps([done.verdict, done.isolation.level]))
"""


@pytest.fixture
def with_bwrap(as_root, tmp_path):
    """Runs SHOW where `bwrap` is a script of the test's, in a mount namespace of its own."""
    real = bubblewrap.program()
    if real is None:
        pytest.skip("bubblewrap is not installed")

    def run(script):
        fake = tmp_path / "bwrap"
        fake.write_text(script.format(real=f"{tmp_path}/real"))
        fake.chmod(0o755)
        (tmp_path / "real").write_bytes(Path(real).read_bytes())
        (tmp_path / "real").chmod(0o755)
        for folder in (tmp_path, *list(tmp_path.parents)[:-1]):
            folder.chmod(folder.stat().st_mode | 0o055)
        mount = f"mount --bind {fake} {real} && exec {sys.executable} -c '{SHOW}'"
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", mount],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=Path(__file__).parents[3],
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


FILTER = textwrap.dedent(
    """\
    #!/usr/bin/python3
    import os, sys
    a = sys.argv[1:]
    {change}
    os.execv('{{real}}', ['bwrap', *a])
    """
)
BROKEN = {
    "shares the network": "a.remove('--unshare-net')",
    "shows the host's files": "i = a.index('--'); a[i:i] = ['--ro-bind', '/tmp', '/tmp']",
    "does not start": "sys.exit('bwrap: setting up uid map: Permission denied')",
    "starts nothing": "sys.exit(0)",
}
SAYS = {
    "shares the network": "a port of the host's can be reached",
    "shows the host's files": "a file of the host's can be read",
    "does not start": "user namespaces",
    "starts nothing": "",
}


@pytest.mark.parametrize("title", BROKEN)
def test_walls_with_a_hole_are_no_walls(with_bwrap, title):
    (word, _, why), (verdict, level) = with_bwrap(FILTER.format(change=BROKEN[title]))
    assert word == "refused"
    assert SAYS[title] in why
    assert "min_level=1" in why
    assert (verdict, level) == ("accepted", 1)


def test_the_same_machine_with_its_own_bubblewrap_isolates(with_bwrap):
    (word, level, _), (verdict, _) = with_bwrap(FILTER.format(change="pass"))
    assert (word, verdict) == ("level", "accepted") and level >= 2
