"""A run's folder as dataclasses. Missing parts are left empty; corrupt ones are named errors."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align.errors import AlignError

STATES = ("done", "skipped", "failed", "pending", "running")


class ReportError(AlignError):
    """A file of the run cannot be read as what it should hold."""


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95 % interval over `n` items; a part not measured is None."""

    value: float
    low: float | None
    high: float | None
    n: int | None


@dataclass(frozen=True)
class Metric:
    """How to read a metric: `unit` "%" means fractions 0..1; `better` is higher or lower."""

    name: str
    unit: str
    better: str

    @property
    def is_share(self) -> bool:
        return self.unit == "%"


@dataclass(frozen=True)
class Answer:
    text: str
    correct: bool | None


@dataclass(frozen=True)
class Sample:
    """One prompt with every model's answer to it."""

    prompt: str
    expected: str
    answers: dict[str, Answer]


@dataclass(frozen=True)
class Scores:
    """One `scores.json`: models -> metric -> estimate, tasks -> model -> task -> estimate."""

    metrics: list[Metric]
    models: dict[str, dict[str, Estimate]]
    tasks: dict[str, dict[str, Estimate]]
    samples: list[Sample]


@dataclass(frozen=True)
class Manifest:
    """What a finished stage says of itself. `rows` may be empty; sizes in bytes and seconds."""

    artifact: str
    fingerprint: str
    config: dict[str, Any]
    rows: dict[str, Any]
    metrics: dict[str, float]
    warnings: list[str]
    seed: float | None
    seconds: float | None
    peak_bytes: float | None


@dataclass(frozen=True)
class StageRun:
    """One stage of a run. `manifest` is None until the stage has finished once."""

    name: str
    kind: str
    inputs: list[str]
    state: str
    seconds: float | None
    error: str | None
    manifest: Manifest | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    scores: Scores | None = None

    @property
    def is_done(self) -> bool:
        """Finished in this run, or before it with the same fingerprint (skipped)."""
        return self.state in ("done", "skipped")

    @property
    def is_stale(self) -> bool:
        """There is an artifact, but of an older recipe: this run has not made it again."""
        return self.manifest is not None and not self.is_done


@dataclass(frozen=True)
class RunRecord:
    name: str
    recipe: str
    seed: float | None
    started: str
    finished: str | None
    versions: dict[str, str]
    stages: list[StageRun]


class _Record:
    """A JSON object that names its file, and the place in it, in every complaint."""

    def __init__(self, path: Path, value: Any, place: str = ""):
        self.path, self.place = path, place
        if not isinstance(value, dict):
            raise self.error("must be an object", value)
        self.value: dict[str, Any] = value

    def error(self, what: str, value: Any) -> ReportError:
        at = f" {self.place}:" if self.place else ""
        shown = repr(value)[:60]
        return ReportError(f"{self.path}:{at} {what}, got {shown}; delete the stage to redo it")

    def _typed(self, key: str, kind: type, default: Any) -> Any:
        found = self.value.get(key)
        if found is None:
            return default
        if not isinstance(found, kind):
            raise self.error(f"'{key}' must be of type {kind.__name__}", found)
        return found

    def text(self, key: str, default: str | None = None) -> str:
        found = self._typed(key, str, default)
        if found is None:
            raise self.error(f"'{key}' is missing", sorted(self.value))
        return found

    def optional_text(self, key: str) -> str | None:
        return self._typed(key, str, None)

    def flag(self, key: str) -> bool | None:
        return self._typed(key, bool, None)

    def number(self, key: str) -> float | None:
        """The number, or None where it is missing, null, or not finite."""
        found = self.value.get(key)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise self.error(f"'{key}' must be a number", found)
        return found if math.isfinite(found) else None

    def array(self, key: str) -> list[Any]:
        return self._typed(key, list, [])

    def mapping(self, key: str) -> dict[str, Any]:
        return self._typed(key, dict, {})

    def record(self, key: str) -> "_Record":
        return _Record(self.path, self.mapping(key), self._inside(key))

    def records(self, key: str) -> list[tuple[str, "_Record"]]:
        """The entries of the object `key`, each an object itself."""
        place = self._inside(key)
        return [(k, _Record(self.path, v, f"{place}.{k}")) for k, v in self.mapping(key).items()]

    def items(self, key: str) -> list["_Record"]:
        """The items of the list `key`, each an object."""
        place = self._inside(key)
        return [_Record(self.path, v, f"{place}[{i}]") for i, v in enumerate(self.array(key))]

    def numbers(self) -> dict[str, float]:
        """Every finite number of this object."""
        return {
            k: v
            for k, v in self.value.items()
            if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
        }

    def _inside(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder.

    Raises ReportError if there is no run.json, or if any file there is is not what it should be.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise ReportError(f"{path}: no such file; give the folder of a run, as runs/quickstart")
    run = _Record(path, _json(path, path.read_bytes()))
    stages: list[StageRun] = []
    for item in run.items("stages"):
        stages.append(_stage(folder, item, {s.name for s in stages}))
    return RunRecord(
        name=run.text("name"),
        recipe=run.text("recipe", ""),
        seed=run.number("seed"),
        started=run.text("started", ""),
        finished=run.optional_text("finished"),
        versions={k: str(v) for k, v in run.mapping("versions").items()},
        stages=stages,
    )


def _json(path: Path, data: bytes, line: int | None = None) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:  # also bytes that are not UTF-8
        at = f"{path}:{line}" if line else str(path)
        raise ReportError(f"{at}: not valid JSON ({error}); delete the stage to redo it") from None


def _stage(folder: Path, item: _Record, before: set[str]) -> StageRun:
    name, inputs = item.text("name"), [str(i) for i in item.array("inputs")]
    state = item.text("state", "pending")
    if state not in STATES:
        raise item.error(f"'state' must be one of {', '.join(STATES)}", state)
    for source in inputs:
        if source not in before:
            raise item.error(f"inputs of '{name}' must be earlier stages", source)
    home = folder / name
    return StageRun(
        name=name,
        kind=item.text("kind", ""),
        inputs=inputs,
        state=state,
        seconds=item.number("seconds"),
        error=item.optional_text("error"),
        manifest=_manifest(home / "manifest.json"),
        curve=_curve(home / "metrics.jsonl"),
        scores=_scores(home / "scores.json"),
    )


def _manifest(path: Path) -> Manifest | None:
    if not path.is_file():
        return None
    found = _Record(path, _json(path, path.read_bytes()))
    _Record(path, found.mapping("rows").get("dropped") or {}, "rows.dropped")
    return Manifest(
        artifact=found.text("artifact", ""),
        fingerprint=found.text("fingerprint", ""),
        config=found.mapping("config"),
        rows=found.mapping("rows"),
        metrics=found.record("metrics").numbers(),
        warnings=[str(w) for w in found.array("warnings")],
        seed=found.number("seed"),
        seconds=found.number("wall_seconds"),
        peak_bytes=found.number("peak_memory_bytes"),
    )


def _curve(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    points = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            point = _Record(path, _json(path, line, number), f"line {number}").numbers()
            if "step" not in point:
                raise ReportError(f"{path}:{number}: a point must have a number 'step'")
            points.append(point)
    return points


def _scores(path: Path) -> Scores | None:
    if not path.is_file():
        return None
    found = _Record(path, _json(path, path.read_bytes()))
    metrics = [
        Metric(name, about.text("unit", ""), about.text("better", "higher"))
        for name, about in found.records("metrics")
    ]
    return Scores(
        metrics=metrics,
        models={model: _estimates(row) for model, row in found.records("models")},
        tasks={model: _estimates(row) for model, row in found.records("tasks")},
        samples=[_sample(item) for item in found.items("samples")],
    )


def _estimates(row: _Record) -> dict[str, Estimate]:
    """What was measured, by name; a value that is null was not."""
    found = {}
    for name in row.value:
        one = row.record(name)
        value, n = one.number("value"), one.number("n")
        if value is not None:
            whole = None if n is None else int(n)
            found[name] = Estimate(value, one.number("low"), one.number("high"), whole)
    return found


def _sample(item: _Record) -> Sample:
    answers = {
        model: Answer(one.text("text", ""), one.flag("correct"))
        for model, one in item.records("answers")
    }
    return Sample(item.text("prompt"), item.text("answer", ""), answers)
