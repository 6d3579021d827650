"""Carry out one stage in this process, and commit what it made."""

import os
import shutil
import time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import align
from align.recipe.load import Recipe
from align.recipe.plan import PlannedStage
from align.runner import memory, notices
from align.runner.progress import Progress
from align.runner.store import Artifact, Store
from align.stages.job import Job

# Before any library reads them: no pings to anybody, no tokenizer threads in forked loaders, and
# no progress bars beside the runner's own line.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")


def world_size() -> int:
    """Number of processes that a launcher started this one among."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def library_versions() -> dict[str, str]:
    found = {"align-toolkit": align.__version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def execute(recipe: Recipe, stage: PlannedStage, store: Store, progress: Progress) -> Artifact:
    """Run `stage` here. In a distributed launch every rank calls this; rank 0 commits.

    Raises what the stage raises; the half-done work stays for the next try.
    """
    processes = world_size()
    if is_main():
        work = store.work(stage.name, stage.fingerprint, processes)
        shutil.rmtree(work / "artifact", ignore_errors=True)  # half-written when killed
    else:
        work = store.work_path(stage.name, stage.fingerprint, processes)
    job = Job(
        name=stage.name,
        config=stage.config,
        fingerprint=stage.fingerprint,
        inputs={name: store.get(name) for name in stage.inputs},
        root=recipe.root,
        work=work,
        answers=store.answers(stage.name),
        run_seed=recipe.seed,
        is_main=is_main(),
        num_processes=processes,
        progress=progress,
    )
    # Before the warnings are collected: libraries set their loggers up when first imported.
    kind = import_module(f"align.stages.{stage.config.kind}")
    memory.start_anew()
    started = time.monotonic()
    with notices.collected() as warned:
        outcome = kind.run(job)
    _barrier()
    manifest = {
        "stage": stage.name,
        "kind": stage.config.kind,
        "artifact": stage.config.artifact,
        "fingerprint": stage.fingerprint,
        "identity": stage.identity,
        "config": stage.identity["config"],
        "inputs": stage.inputs,
        "seed": job.seed,
        "num_processes": processes,
        "rows": outcome.rows,
        "metrics": outcome.metrics,
        **outcome.facts,
        "warnings": warned,
        "wall_seconds": round(time.monotonic() - started, 3),
        "peak_memory_bytes": memory.peak_bytes(),
        "versions": library_versions(),
        "code_version": align.__version__,
    }
    if not is_main():
        return Artifact(store.folder / stage.name, manifest)
    return store.commit(stage.name, work, _finite(manifest))


def _barrier() -> None:
    """Wait for the other ranks: rank 0 moves the folder that they may still read."""
    if world_size() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.barrier()


def _finite(value: Any) -> Any:
    """JSON has no NaN: a metric that is not a finite number becomes null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value
