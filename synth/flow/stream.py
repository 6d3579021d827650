"""Rows through a method: windows side by side, results in the order of the rows.

A window is taken up only when there is room, so memory does not grow with the number of rows. What
is done when a run is killed is in the store; the next run goes through it at the speed of reading.
"""

import itertools
import json
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

from synth.flow.asking import Asking
from synth.flow.progress import Steps
from synth.flow.settings import Settings
from synth.flow.store import Store, canonical
from synth.flow.window import Window
from synth.synthesis import Counts, Part, Reject, Row, SynthesisError, provenance_of

WINDOW_ROWS = 256
WINDOWS_AT_ONCE = 4
WATCH_EVERY_S = 0.5

Watch = Callable[[int, int | None, list[str]], None]
"""Called twice a second with: source rows done, source rows in all, one line a step."""


class Selection(Protocol):
    """What a method's `select` says of all rows, which go by their numbers."""

    metrics: Mapping[str, float]

    def dropped(self, number: int) -> str | None:
        """The reason why the row goes, `step:word`; None if it stays."""
        ...

    def columns(self, number: int) -> Mapping[str, Any]:
        """Columns that the row gets, over those it has."""
        ...


class Stream:
    """Iterate over it for the parts; `counts` and `metrics` are whole when it has ended."""

    def __init__(
        self,
        method: Any,
        rows: Iterable[Row],
        engine: Any,
        settings: Settings,
        *,
        num_rows: int | None = None,
        store: Store | None = None,
        window_rows: int = WINDOW_ROWS,
        windows_at_once: int = WINDOWS_AT_ONCE,
        watch: Watch | None = None,
        decontamination: Any = None,
    ) -> None:
        self.method, self.engine, self.settings = method, engine, settings
        self.counts, self.metrics = Counts(), {}
        self.steps = Steps()
        self._rows, self._num_rows = rows, num_rows
        self._decontamination = decontamination
        self._window_rows, self._at_once, self._watch = window_rows, windows_at_once, watch
        self._asking = Asking(Store() if store is None else store, settings, self.steps)
        self._tallies: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Part]:
        parts = self._windows()
        if hasattr(self.method, "select"):
            with tempfile.TemporaryDirectory(prefix="align-synth-") as folder:
                yield from self._selected(parts, Path(folder) / "rows.jsonl")
        else:
            for part in parts:
                yield self._counted(part)
        self.counts.notes |= {name: n for name, n in sorted(self.steps.counts.items()) if n}
        if hasattr(self.method, "metrics"):
            self.metrics |= self.method.metrics(dict(self._tallies), self.settings)

    def _windows(self) -> Iterator[Part]:
        """Parts in the order of the rows, a few windows ahead of whoever takes them."""
        chunks = _chunked(self._rows, self._window_rows)
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="window") as threads:
            running: deque[Future[Window]] = deque()
            try:
                for chunk in chunks:
                    running.append(threads.submit(self._window, chunk))
                    if len(running) >= self._at_once:
                        yield self._done(self._waited(running.popleft()))
                while running:
                    yield self._done(self._waited(running.popleft()))
            finally:
                self._asking.stop.set()
                for future in running:
                    future.cancel()

    def _window(self, rows: Sequence[Row]) -> Window:
        window = Window(self.method, rows, self.engine, self.settings, self._asking)
        self.method.make(window, self.settings)
        window.finish()
        return window

    def _waited(self, future: Future[Window]) -> Window:
        """The window when it is done; until then the progress is shown."""
        while not wait([future], timeout=WATCH_EVERY_S).done:
            self._report()
        return future.result()

    def _report(self) -> None:
        if self._watch:
            lines = self.steps.lines(self._num_rows)
            self._watch(self.counts.source, self._num_rows, lines)

    def _done(self, window: Window) -> Part:
        counts = self.counts
        counts.source += len(window.items)
        counts.items += window.num_items
        counts.used += window.num_used
        self._tallies += window.tallies
        self._report()
        return Part(window.rows, window.rejects)

    def _counted(self, part: Part) -> Part:
        if self._decontamination is not None:
            part = self._clean(part)
        self.counts.rows += len(part.rows)
        dropped = Counter(self.counts.dropped)
        dropped.update(reject.reason for reject in part.rejects)
        self.counts.dropped = dict(sorted(dropped.items()))
        return part

    def _clean(self, part: Part) -> Part:
        """Without the rows that overlap with an evaluation set; each is logged with the pair."""
        rows, rejects = [], list(part.rejects)
        for row, overlap in zip(part.rows, self._decontamination.find(part.rows), strict=True):
            if overlap is None:
                rows.append(row)
            else:
                rejects.append(dropped_row(row, "contaminated", str(overlap)))
        return Part(rows, rejects)

    def _selected(self, parts: Iterable[Part], spool: Path) -> Iterator[Part]:
        """All rows to disk first; the method then looks at them as often as it must."""
        with spool.open("w", encoding="utf-8") as stream:
            for part in parts:
                for row in part.rows:
                    stream.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
                yield self._counted(Part([], part.rejects))
        selection: Selection = self.method.select(lambda: _read(spool), self.settings)
        self.metrics |= selection.metrics
        for chunk in _chunked(enumerate(_read(spool)), self._window_rows):
            rows, rejects = [], []
            for number, row in chunk:
                reason = selection.dropped(number)
                if reason is None:
                    rows.append({**row, **selection.columns(number)})
                else:
                    rejects.append(dropped_row(row, reason))
            yield self._counted(Part(rows, rejects))


def dropped_row(row: Row, reason: str, detail: str = "") -> Reject:
    """A finished row that is taken out again."""
    provenance = json.loads(row["provenance"])
    columns = {name: value for name, value in row.items() if name != "provenance"}
    return Reject(
        id=provenance["row"],
        source=str(row["id"]),
        reason=reason,
        detail=detail,
        text="",
        columns=canonical(columns).decode(),
        provenance=row["provenance"],
    )


def _read(spool: Path) -> Iterator[Row]:
    with spool.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _chunked(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, size)):
        yield chunk


def check_rows(rows: Iterable[Row], needed: Sequence[str]) -> Iterator[Row]:
    """The rows, each checked as it passes. A row that a synthesis made goes by the id it got there,
    for its column `id` is its source's, which others may share.

    Raises SynthesisError naming the row and column.
    """
    for number, row in enumerate(rows):
        missing = [name for name in ("id", *needed) if row.get(name) in (None, "")]
        if missing:
            raise SynthesisError(
                f"row {number} has no {', '.join(missing)}; this method needs "
                f"{', '.join(('id', *needed))}"
            )
        made_as = provenance_of(row).get("row")
        yield row if made_as is None else {**row, "id": made_as}
