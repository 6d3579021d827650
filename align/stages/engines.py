"""From an artifact to the engine that samples from it."""

import json
import os
from typing import Any

from align.generate import ReplayEngine
from align.stages.job import Artifact, Job, StageError
from align.stages.replay import ANSWERS


def open_engine(job: Job, stage: str, *, engine: str = "local", engine_args: dict[str, Any]) -> Any:
    """The engine for what `stage` made: a model's folder, a server, or recorded answers."""
    artifact = job.inputs[stage]
    kind = artifact.manifest["kind"]
    if kind == "replay":
        return ReplayEngine(artifact.path / ANSWERS)
    if kind == "server":
        return _server(artifact)
    if engine == "vllm":
        from align.generate.vllm_engine import VllmEngine

        return VllmEngine(artifact.path, fingerprint=artifact.fingerprint, **engine_args)
    from align.generate.local import LocalEngine

    return LocalEngine(artifact.path, fingerprint=artifact.fingerprint, **engine_args)


def _server(artifact: Artifact) -> Any:
    from align.generate.server import ServerEngine

    about = json.loads((artifact.path / "server.json").read_text(encoding="utf-8"))
    variable = about.pop("api_key_env")
    if variable is not None and variable not in os.environ:
        raise StageError(
            f"{about['url']}: its key is to be in the environment variable {variable}, which is "
            "not set"
        )
    return ServerEngine(**about, api_key=os.environ[variable] if variable else None)
