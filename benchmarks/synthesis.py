"""Measure the engine of synthesis, and write benchmarks/synthesis.md.

    python benchmarks/synthesis.py [--peers FOLDER]

FOLDER keeps the environments of distilabel, curator and data-designer, which are installed there;
without it they are left out.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import synthesis_peers
from markdown import table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from align.generate import Completion, Sampling, ServerEngine  # noqa: E402
from synth.flow.settings import Settings  # noqa: E402
from synth.flow.store import Store  # noqa: E402
from synth.flow.stream import Stream  # noqa: E402
from synth.rows.messages import assistant, user  # noqa: E402

PAGE = ROOT / "benchmarks" / "synthesis.md"
ROWS, REPLAYED_ROWS, MANY_ROWS = 10_000, 50_000, 1_000_000
RUNS = 3


class TwoSteps:
    """A draft, and its revision."""

    METHOD, VERSION = "two_steps", 1

    @staticmethod
    def make(window: Any, settings: Settings) -> None:
        drafts = window.generate("draft", window.items, lambda item: item.columns["prompt"])
        finals = window.generate(
            "revise",
            [draft for group in drafts for draft in group],
            lambda item: [*item.columns["prompt"], *assistant(item.text), *user("Revise it.")],
        )
        for group in finals:
            for final in group:
                prompt = final.columns["prompt"]
                window.keep({"prompt": prompt, "completion": assistant(final.text)}, final)


class Immediate:
    """An engine that costs nothing."""

    fingerprint, follows_schemas = "immediate:1", False
    answered = Completion("some words of an answer " * 4, (), (), "stop", 20)

    def answer(self, prompts: Sequence[Any], samples: Sequence[int], **asked: Any) -> None:
        asked["on_answers"]([(place, self.answered) for place in range(len(prompts))])


def rows(number: int) -> Iterator[dict]:
    for n in range(number):
        yield {"id": f"row {n}", "prompt": user(f"question {n} " + "word " * 20)}


def made(engine: Any, store: Store, number: int) -> float:
    """Rows a second through the two steps."""
    settings = Settings(sampling=Sampling(), seed=1)
    stream = Stream(TwoSteps, rows(number), engine, settings, store=store, num_rows=number)
    start = time.monotonic()
    count = sum(len(part.rows) for part in stream)
    assert count == number == stream.counts.rows
    return count / (time.monotonic() - start)


@contextmanager
def server() -> Iterator[str]:
    """A server in a process of its own that answers at once; its URL."""
    command = [sys.executable, "-m", "tests.generate.scripted_server", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def ours(url: str) -> float:
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder) / "answers.sqlite") as store,
        ServerEngine(url, "m") as engine,
    ):
        return made(engine, store, ROWS)


def beside_peers(folder: Path | None) -> str:
    """Every engine in turn, round by round; a peer at the best of its settings."""
    found: dict[tuple[str, int | None], list[float]] = {}
    pythons = {}
    if folder is not None:
        pythons = {p: synthesis_peers.install(p, folder) for p in synthesis_peers.NEEDS}
    with server() as url:
        for _ in range(RUNS):
            found.setdefault(("align", None), []).append(ours(url))
            for peer, python in pythons.items():
                for setting in synthesis_peers.SETTINGS[peer]:
                    rate = synthesis_peers.rows_per_second(python, peer, url, ROWS, setting)
                    found.setdefault((peer, setting), []).append(rate)
    best: dict[str, tuple[float, int | None, list[float]]] = {}
    for (name, setting), rates in found.items():
        median = statistics.median(rates)
        if name not in best or median > best[name][0]:
            best[name] = (median, setting, rates)
    our_rate = best["align"][0]
    lines = [["engine", "rows/s", "of runs", "setting", "align is"]]
    for name, (median, setting, rates) in best.items():
        runs = f"{min(rates):,.0f}-{max(rates):,.0f}"
        shown = "default" if setting is None else str(setting)
        lines.append([name, f"**{median:,.0f}**", runs, shown, f"{our_rate / median:.1f}x"])
    return table(lines)


def replay() -> str:
    """Rows a second where the store knows every answer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.sqlite"
        with Store(path) as store:
            made(Immediate(), store, REPLAYED_ROWS)
        rates = []
        for _ in range(RUNS):
            with Store(path) as store:
                rates.append(made(Immediate(), store, REPLAYED_ROWS))
    return f"**{statistics.median(rates):,.0f} rows/s** ({min(rates):,.0f}-{max(rates):,.0f})"


def many() -> str:
    """Memory and speed of a million rows, in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--many"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def many_here() -> None:
    before = _peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.sqlite"
        with Store(path) as store:
            first = made(Immediate(), store, MANY_ROWS)
        size = path.stat().st_size / 2**20
    print(
        f"**{_peak_mib():,.0f} MiB** at the peak ({before:,.0f} MiB before the first row), "
        f"{first:,.0f} rows/s with an engine that costs nothing; the store takes {size:,.0f} MiB"
    )


def _peak_mib() -> float:
    """Of this process alone; rusage would tell of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


def page(peers: Path | None) -> str:
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"""# The engine of synthesis, measured

Made by `python benchmarks/synthesis.py --peers FOLDER` on {os.cpu_count()} cores
({processor[1] if processor else platform.machine()}), Python {platform.python_version()}.

## Against a server that answers at once

A method of two steps: one request for each row, and one that goes on from its answer. The server is
on the loopback, in a process of its own. Medians of {RUNS} rounds, engine after engine in each;
{ROWS:,} rows for each, the others at the best of the settings tried
(`benchmarks/synthesis_peers/`). Ours keeps every answer in its store before it counts as done.

{beside_peers(peers)}

## Again from the store

The same two steps where every answer is known, {REPLAYED_ROWS:,} rows: {replay()}.

## A million rows

{many()}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--many", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.many:
        many_here()
        return
    PAGE.write_text(page(arguments.peers), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
