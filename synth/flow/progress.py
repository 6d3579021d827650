"""What the steps of a method have done so far. Written by several threads, read by one."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class StepState:
    """One step. done: requests or executions finished, of which `saved` came from the store.

    waiting: requests handed to the engine and not answered, of which some are in flight.
    sources: source rows that have gone through. accepted of judged: what it let pass.
    """

    name: str
    done: int = 0
    saved: int = 0
    waiting: int = 0
    in_flight: int = 0
    tokens: int = 0
    sources: int = 0
    judged: int = 0
    accepted: int = 0
    first: float = 0.0
    latest: float = 0.0

    def line(self, total_sources: int | None) -> str:
        """done, accept rate, tokens/s, in flight, time left, saved by the store."""
        seconds = self.latest - self.first
        parts = [f"{self.name}: {self.done:,} done"]
        if self.judged:
            parts.append(f"{100 * self.accepted / self.judged:.0f} % accepted")
        if self.tokens and seconds:
            parts.append(f"{self.tokens / seconds:,.0f} tokens/s")
        if self.in_flight:
            parts.append(f"{self.in_flight:,} in flight")
        if total_sources and seconds and 0 < self.sources < total_sources:
            left = seconds * (total_sources - self.sources) / self.sources
            parts.append(f"{_clock(left)} left")
        if self.saved:
            parts.append(f"{self.saved:,} from the store")
        return ", ".join(parts)


class Steps:
    """The steps of a run, in the order in which they were first met."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: dict[str, StepState] = {}
        self.counts: Counter[str] = Counter()
        """Of all steps: `requests/sent`, `requests/saved`, `requests/failed:<reason>`,
        `executions/done` and `executions/saved`."""

    @contextmanager
    def changing(self, name: str) -> Iterator[StepState]:
        """The state of a step, for the calling thread alone."""
        with self._lock:
            now = time.monotonic()
            state = self._steps.setdefault(name, StepState(name, first=now))
            yield state
            state.latest = now

    def count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self.counts[name] += number

    def lines(self, total_sources: int | None) -> list[str]:
        with self._lock:
            return [state.line(total_sources) for state in self._steps.values()]


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
