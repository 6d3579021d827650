"""Run a recipe: skip what is finished, resume what was killed, make the rest."""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rewards
import synth
from align.errors import AlignError
from align.recipe.errors import did_you_mean
from align.recipe.load import Recipe, load_recipe
from align.recipe.plan import PlannedStage, changes, plan_stages
from align.recipe.schema import Synth
from align.runner.execute import execute, is_main, library_versions, world_size
from align.runner.launch import launch
from align.runner.lock import locked
from align.runner.preflight import preflight
from align.runner.progress import Progress, duration
from align.runner.store import Store, write_json


@dataclass
class StageState:
    """Where one stage stands: `state` is done, pending, running, skipped or failed."""

    stage: PlannedStage
    state: str
    reason: str
    seconds: float | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        return self.stage.name


@dataclass
class Run:
    """A run's folder and the states of its stages, in running order."""

    folder: Path
    recipe: Recipe
    stages: list[StageState]
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __getitem__(self, stage: str) -> Path:
        """Folder of a finished stage's artifact."""
        return self.folder / stage

    def save(self, finished: bool = False) -> None:
        """Write run.json, from which the report is made."""
        now = datetime.now(UTC).isoformat(timespec="seconds") if finished else None
        write_json(
            self.folder / "run.json",
            {
                "name": self.recipe.name,
                "recipe": str(self.recipe.path),
                "seed": self.recipe.seed,
                "started": self.started,
                "finished": now,
                "versions": library_versions(),
                "stages": [self._row(s) for s in self.stages],
            },
        )

    @staticmethod
    def _row(state: StageState) -> dict[str, Any]:
        return {
            "name": state.name,
            "kind": state.stage.config.kind,
            "inputs": list(state.stage.inputs),
            "state": state.state,
            "seconds": state.seconds,
            "error": state.error,
        }


def plan(
    recipe: str | Path | Recipe,
    overrides: Sequence[str] | dict[str, Any] = (),
    *,
    runs: str | Path = "runs",
) -> Run:
    """What `run` would do, without doing it: every stage with its state and the reason."""
    recipe = _loaded(recipe, overrides)
    preflight(recipe)
    store = Store(Path(runs) / recipe.name)
    states: dict[str, StageState] = {}
    synthesis = {s.method for s in recipe.stages.values() if isinstance(s, Synth)}
    methods = {name: synth.identity(name) for name in synthesis}
    for stage in plan_stages(recipe, rewards.sources(), methods):
        states[stage.name] = _state(stage, store, states)
    return Run(store.folder, recipe, list(states.values()))


def _loaded(recipe: str | Path | Recipe, overrides: Sequence[str] | dict[str, Any]) -> Recipe:
    if not isinstance(recipe, Recipe):
        return load_recipe(recipe, overrides)
    if overrides:
        raise AlignError("this recipe is loaded already: give its overrides to load_recipe")
    return recipe


def _state(stage: PlannedStage, store: Store, before: dict[str, StageState]) -> StageState:
    made = store.get(stage.name)
    if made is not None and made.fingerprint == stage.fingerprint:
        return StageState(stage, "done", "finished", made.manifest["wall_seconds"])
    waiting = [name for name in stage.inputs if before[name].state != "done"]
    if store.in_progress(stage.name, stage.fingerprint, stage.launch.num_processes):
        reason = "was interrupted; goes on from its last checkpoint"
    elif made is None:
        reason = "not made yet"
    else:
        differences = changes(made.manifest["identity"], stage.identity)
        reason = "; ".join(d for d in differences if d not in _echoes(waiting)) or "an input reruns"
    return StageState(stage, "pending", reason)


def _echoes(waiting: list[str]) -> set[str]:
    return {f"input {name} changed" for name in waiting}


def run(
    recipe: str | Path | Recipe,
    overrides: Sequence[str] | dict[str, Any] = (),
    *,
    runs: str | Path = "runs",
    only: str | None = None,
    start: str | None = None,
    fresh: bool = False,
    quiet: bool = False,
) -> Run:
    """Carry out a recipe and return the run.

    only: run this stage alone, on finished inputs. start: rerun this stage and all that depends on
    it. fresh: rerun what is finished too. Raises AlignError for mistakes in the recipe or its data;
    a stage that failed or was killed goes on where it stopped at the next call.
    """
    recipe = _loaded(recipe, overrides)
    folder = Path(runs) / recipe.name
    with locked(folder) if is_main() else nullcontext():
        if is_main():
            _recover(recipe, folder)
        current = plan(recipe, runs=runs)
        chosen = _choose(current, only, start, fresh)
        if is_main():
            current.save()
        _go_through(current, chosen, Path(runs), fresh, quiet)
        if is_main():
            current.save(finished=all(s.state in ("done", "skipped") for s in current.stages))
    return current


def _recover(recipe: Recipe, folder: Path) -> None:
    store = Store(folder)
    for name in recipe.stages:
        store.recover(name)
    shutil.copyfile(recipe.path, folder / "recipe.yaml")


def _choose(current: Run, only: str | None, start: str | None, fresh: bool) -> set[str]:
    """Names of the stages to run; finished ones among them are made again."""
    by_name = {s.name: s for s in current.stages}
    for name in (only, start):
        if name is not None and name not in by_name:
            raise AlignError(
                f"{current.recipe.path}: no stage '{name}' in this recipe"
                f"{did_you_mean(name, by_name)}"
            )
    pending = {s.name for s in current.stages if s.state == "pending"}
    if only is not None:
        missing = [i for i in by_name[only].stage.inputs if by_name[i].state != "done"]
        if missing:
            raise AlignError(
                f"stage '{only}' needs {', '.join(missing)}, not finished yet; "
                f"run it first, or leave out --only"
            )
        return {only} if fresh else {only} & pending
    if fresh:
        return set(by_name)
    again: set[str] = set()
    for state in current.stages:
        if state.name == start or again & set(state.stage.inputs):
            again.add(state.name)
    return pending | again


def _go_through(current: Run, chosen: set[str], runs: Path, fresh: bool, quiet: bool) -> None:
    store = Store(current.folder)
    number = len(current.stages)
    width = max(len(s.name) for s in current.stages)
    for index, state in enumerate(current.stages, 1):
        label = f"[{index}/{number}] {state.name:<{width}}"
        progress = Progress(label, quiet=quiet or not is_main())
        if state.name not in chosen:
            if state.state == "done":
                state.state = "skipped"
                progress.finished("finished before, skipped")
            continue
        if is_main() and (fresh or state.state == "done"):
            store.discard(state.name)
        _one(current, state, store, runs, progress)


def _one(current: Run, state: StageState, store: Store, runs: Path, show: Progress) -> None:
    state.state = "running"
    if is_main():
        current.save()
    try:
        if state.stage.launch.num_processes > 1 and world_size() == 1:
            launch(current.recipe, state.stage, store, runs)
            artifact = store.get(state.name)
        else:
            with show:
                artifact = execute(current.recipe, state.stage, store, show)
    except BaseException as error:
        state.state, state.error = "failed", str(error) or type(error).__name__
        if is_main():
            current.save()
        if isinstance(error, Exception):
            error.add_note(f"(stage '{state.name}')")
        raise
    state.state, state.seconds = "done", artifact.manifest["wall_seconds"]
    if is_main():
        current.save()
    show.finished(_summary(artifact.manifest))


def _summary(manifest: dict[str, Any]) -> str:
    """The stage's line once it is done: time, rows and its leading numbers."""
    parts = [f"done in {duration(manifest['wall_seconds'])}"]
    rows = manifest["rows"]
    if "kept" in rows:
        dropped = sum(rows.get("dropped", {}).values())
        parts.append(f"{rows['kept']:,} rows kept" + (f", {dropped:,} dropped" if dropped else ""))
    for name, value in list(manifest["metrics"].items())[:3]:
        if value is not None:
            parts.append(f"{name} {value:.4g}")
    if manifest["warnings"]:
        count = len(manifest["warnings"])
        parts.append(f"{count} warning{'s' if count > 1 else ''} (see the report)")
    return "  ".join(parts)
