"""Measure the verifiers and the sandbox, and write benchmarks/verifiers.md.

    python benchmarks/verifier_figures.py --data FOLDER

FOLDER holds HumanEval.jsonl.gz, ifeval_input.jsonl and gsm8k_train.jsonl. As root, the hostile
programs run as root and as an ordinary user, else as this user alone.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import answer_figures
import sandbox_figures
from markdown import table

from verifiers.sandbox import Sandbox

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "benchmarks" / "verifiers.md"

ORDINARY = 65_000
"""A uid that nobody has."""


def attacks(level: int, as_user: bool) -> list[dict]:
    """The runner's lines for all attacks, in a process of its own."""
    words = ["-m", "tests.verifiers.sandbox.attacks", "--level", str(level)]
    if not as_user:
        return _lines([sys.executable, *words], ROOT)
    with tempfile.TemporaryDirectory() as folder:
        # Our own checkout and interpreter may lie where an ordinary user can't read.
        os.chmod(folder, 0o755)
        for name in ("verifiers", "tests"):
            shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("*.pyc"))
        setpriv = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
        return _lines([*setpriv, "/usr/bin/python3", *words], Path(folder))


def _lines(command: list[str], folder: Path) -> list[dict]:
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def hostile() -> str:
    me = "root" if os.geteuid() == 0 else "ordinary user"
    runs = {(me, 3): (3, False), (me, 2): (2, False)}
    if me == "root":
        runs["ordinary user", 2] = (2, True)
    runs[me, 1] = (1, False)
    rows = [["run as", "level", "attacks", "as expected", "skipped", "not as expected"]]
    for (user, level), arguments in runs.items():
        *found, summary = attacks(*arguments)
        listed = [o for o in found if o["number"] < 101]  # some have several programs: 91, 91.1
        numbers = {int(o["number"]) for o in listed}
        bad = [o for o in listed if not o["ok"]]
        skipped = {int(o["number"]) for o in listed if o["skipped"]}
        shown = "; ".join(f"{o['number']:g} {o['title']}" for o in bad) or "none"
        if summary["changes"]:
            shown += f"; on the host: {'; '.join(summary['changes'])}"
        good = len(numbers - skipped - {int(o["number"]) for o in bad})
        cells = [len(numbers), f"**{good}**", len(skipped)]
        rows.append([user, str(level), *map(str, cells), shown])
    return table(rows)


def page(data: Path) -> str:
    with Sandbox() as sandbox:
        walls = sandbox.isolation
    return f"""# Verifiers and sandbox, measured

Made by `python benchmarks/verifier_figures.py` on {os.cpu_count()} cores ({platform.machine()}),
Linux {platform.release()}, Python {platform.python_version()}, bubblewrap {walls.bubblewrap},
Landlock ABI {walls.landlock_abi}, cgroup {walls.cgroup}.

## Hostile programs

The hundred attacks of `tests/verifiers/sandbox/attacks`: as expected means the verdict that is due
and nothing reached. Level 3 is namespaces, seccomp and cgroup; level 2 the same without cgroup;
level 1 Landlock and seccomp alone, which is never chosen unasked.

{hostile()}

## Sandbox beside a plain subprocess

Python running `pass`, with the same command and environment inside and outside, one job at a time,
medians of interleaved rounds. Plain is `subprocess.run`.

{sandbox_figures.speeds()}

## HumanEval

Every problem's tests, in a process of their own, on three programs for each of the 164 problems.

{sandbox_figures.humaneval(data)}

## Maths

{answer_figures.maths()}

{answer_figures.gsm8k(data)}

## Instructions

{answer_figures.ifeval(data)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    PAGE.write_text(page(parser.parse_args().data), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
