"""What a stage is given, and what it gives back."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align.errors import AlignError
from align.recipe.schema import Stage


class StageError(AlignError):
    """A stage cannot go on with what it was given."""


@dataclass(frozen=True)
class Artifact:
    """A finished stage: its folder and manifest."""

    path: Path
    manifest: dict[str, Any]

    @property
    def kind(self) -> str:
        return self.manifest["artifact"]

    @property
    def fingerprint(self) -> str:
        return self.manifest["fingerprint"]


@dataclass
class Outcome:
    """Counts and numbers for the manifest.

    rows: {"kept": n, "dropped": {reason: n}} or {}; metrics: flat names to numbers.
    """

    rows: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Job:
    """One stage to carry out. `work` survives a kill; `output` becomes the artifact.

    answers: a file for what models answered; it outlives the work, whatever becomes of the stage.
    """

    name: str
    config: Stage
    fingerprint: str
    inputs: dict[str, Artifact]
    root: Path
    work: Path
    answers: Path
    run_seed: int
    is_main: bool
    num_processes: int
    progress: Callable[..., None]

    @property
    def output(self) -> Path:
        path = self.work / "artifact"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def seed(self) -> int:
        """This stage's own seed: the run's seed and the stage's name, so that no two stages share
        random numbers. 31 bits, as trainers want."""
        digest = hashlib.sha256(f"{self.run_seed}/{self.name}".encode()).digest()
        return int.from_bytes(digest[:4]) >> 1

    def path(self, stage: str) -> Path:
        """Folder of an input artifact."""
        return self.inputs[stage].path

    def write_curve(self, points: list[dict[str, float]]) -> None:
        """The stage's curve, a JSON line a point, for the report."""
        lines = [json.dumps(point) + "\n" for point in points]
        (self.output / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")
