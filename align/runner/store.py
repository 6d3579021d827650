"""Artifacts on disk. A folder with a manifest is whole; work in progress lies under `.work`.

runs/<recipe name>/
    run.json, report.html
    <stage>/            a finished artifact, with manifest.json
    .work/<stage>@<fingerprint>-<n>p/   a stage being made by n processes; resumed if these hold
    .answers/<stage>.sqlite             what models answered; kept whatever becomes of the stage
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from align.errors import AlignError
from align.stages.job import Artifact

MANIFEST = "manifest.json"


def write_json(path: Path, value: Any) -> None:
    """Write beside, flush to disk, rename: the file is whole at every instant."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1, ensure_ascii=False, allow_nan=False)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


class Store:
    """The artifacts of one run folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def get(self, stage: str) -> Artifact | None:
        """The finished artifact of `stage`, whichever fingerprint it has; None if there is none."""
        path = self.folder / stage / MANIFEST
        try:
            return Artifact(path.parent, json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise AlignError(
                f"{path}: the manifest cannot be read ({error}); delete {path.parent} to redo it"
            ) from None

    def work(self, stage: str, fingerprint: str, num_processes: int) -> Path:
        """The folder in which `stage` is being made; half-done work of any other kind goes."""
        mine = self.work_path(stage, fingerprint, num_processes)
        for old in self._works(stage):
            if old != mine:
                shutil.rmtree(old)
        mine.mkdir(parents=True, exist_ok=True)
        return mine

    def in_progress(self, stage: str, fingerprint: str, num_processes: int) -> bool:
        return self.work_path(stage, fingerprint, num_processes).is_dir()

    def work_path(self, stage: str, fingerprint: str, num_processes: int) -> Path:
        return self.folder / ".work" / f"{stage}@{fingerprint[:16]}-{num_processes}p"

    def answers(self, stage: str) -> Path:
        return self.folder / ".answers" / f"{stage}.sqlite"

    def _works(self, stage: str) -> list[Path]:
        return sorted((self.folder / ".work").glob(f"{stage}@*"))

    def commit(self, stage: str, work: Path, manifest: dict[str, Any]) -> Artifact:
        """Turn `work/artifact` into the finished artifact of `stage`.

        The manifest is written last inside the folder, then the folder is renamed into place.
        Killed between the two, or while an older artifact goes, `recover` finishes the job.
        """
        made = work / "artifact"
        write_json(made / MANIFEST, manifest)
        self._install(stage, made)
        shutil.rmtree(work)
        return Artifact(self.folder / stage, manifest)

    def _install(self, stage: str, made: Path) -> None:
        self._remove(stage)
        made.rename(self.folder / stage)

    def _remove(self, stage: str) -> None:
        """Take a finished artifact away. Renamed first: a half-deleted one must not look whole."""
        final, old = self.folder / stage, self.folder / ".work" / f"{stage}@old"
        if old.exists():
            shutil.rmtree(old)
        if final.exists():
            old.parent.mkdir(exist_ok=True)
            final.rename(old)
            shutil.rmtree(old)

    def recover(self, stage: str) -> None:
        """Finish a commit that was killed after the manifest was written."""
        for work in self._works(stage):
            if (work / "artifact" / MANIFEST).is_file():
                self._install(stage, work / "artifact")
                shutil.rmtree(work)

    def discard(self, stage: str) -> None:
        """Remove the artifact and the work in progress of `stage`."""
        self._remove(stage)
        for work in self._works(stage):
            shutil.rmtree(work)
