"""Progress of a run: one live line a stage in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

PLAIN_EVERY_S = 15.0


def duration(seconds: float) -> str:
    """1:05 for minutes and seconds, 2:01:05 with hours."""
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _number(value: float | None) -> str:
    if value is None:  # TRL's reward of a step in which no reward function could tell
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Progress:
    """Shows one stage. Called with what is done; works out throughput and time left."""

    def __init__(self, label: str, stream: TextIO | None = None, quiet: bool = False):
        self.label = label
        self.console = Console(file=stream or sys.stderr, highlight=False, quiet=quiet)
        self.live: Live | None = None
        self.shown = time.monotonic()
        self.unit = ""
        self.first: tuple[float, float] = (self.shown, 0)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self.live = Live(Text(f"{self.label} ..."), console=self.console, transient=True)
            self.live.start()
        else:
            self.console.print(f"{self.label} started", soft_wrap=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def __call__(
        self,
        done: int,
        total: int | None,
        unit: str = "steps",
        *,
        parts: Sequence[str] = (),
        **values: float,
    ) -> None:
        """`done` of `total` `unit`; None where the total is not known.

        values: shown beside, such as loss or tokens_per_s. parts: a line each below, where several
        things go on at once.
        """
        now = time.monotonic()
        if unit != self.unit:  # a stage's next phase; a resumed one starts above zero
            self.unit, self.first = unit, (now, done)
        line = "\n    ".join([self._line(done, total, unit, values, now), *parts])
        if self.live:
            self.live.update(Text(line))
        elif now - self.shown >= PLAIN_EVERY_S:
            self.shown = now
            self.console.print(line, soft_wrap=True)

    def _line(self, done: int, total: int | None, unit: str, values: dict, now: float) -> str:
        start, already = self.first
        rate = (done - already) / (now - start) if now > start and done > already else 0.0
        of_total = f"/{total:,}" if total is not None else ""
        parts = [f"{self.label}  {done:,}{of_total} {unit}"]
        if rate:
            parts.append(f"{_number(rate)} {unit}/s")
        if rate and total is not None:
            parts.append(f"{duration((total - done) / rate)} left")
        parts += [f"{name} {_number(value)}" for name, value in values.items()]
        return "  ".join(parts)

    def finished(self, summary: str) -> None:
        if self.live:
            self.live.stop()
            self.live = None
        self.console.print(f"{self.label}  {summary}", soft_wrap=True)
