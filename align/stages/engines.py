"""From an artifact to the engine that samples from it."""

import json
from typing import Any

from align.generate import ReplayEngine
from align.stages.job import Job
from align.stages.replay import ANSWERS


def open_engine(job: Job, stage: str, *, engine: str = "local", engine_args: dict[str, Any]) -> Any:
    """The engine for what `stage` made: a model's folder, a server, or recorded answers."""
    artifact = job.inputs[stage]
    kind = artifact.manifest["kind"]
    if kind == "replay":
        return ReplayEngine(artifact.path / ANSWERS)
    if kind == "server":
        from align.stages.server import SERVER, connected

        return connected(json.loads((artifact.path / SERVER).read_text(encoding="utf-8")))
    if engine == "vllm":
        from align.generate.vllm_engine import VllmEngine

        return VllmEngine(artifact.path, fingerprint=artifact.fingerprint, **engine_args)
    from align.generate.local import LocalEngine

    return LocalEngine(artifact.path, fingerprint=artifact.fingerprint, **engine_args)
