"""A model behind a server: nothing is done but to remember where it is."""

import json

from align.stages.job import Job, Outcome


def run(job: Job) -> Outcome:
    about = job.config.model_dump(exclude={"kind", "launch"})
    (job.output / "server.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return Outcome(facts={"served_model": job.config.model})
