"""A model behind a server: nothing is done but to see that it is there, and to remember which."""

import json
import os
from typing import Any

from align.generate.server import ServerEngine
from align.stages.job import Job, Outcome, StageError

SERVER = "server.json"


def run(job: Job) -> Outcome:
    about = job.config.model_dump(exclude={"kind", "launch"})
    with connected(about) as engine:
        about["known_as"] = engine.fingerprint
    (job.output / SERVER).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return Outcome(facts={"served_model": about["known_as"]})


def connected(about: dict[str, Any]) -> ServerEngine:
    """The engine for what `server.json` says. Raises StageError if the key is not set."""
    settings = dict(about)
    variable = settings.pop("api_key_env")
    if variable is not None and variable not in os.environ:
        raise StageError(
            f"{settings['url']}: its key is to be in the environment variable {variable}, which is "
            "not set"
        )
    return ServerEngine(**settings, api_key=os.environ[variable] if variable else None)
