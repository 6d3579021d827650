"""Rows from a model by a synthesis method."""

import synth
import verifiers
from align.generate import LocalEngine, Sampling
from align.stages import tables
from align.stages.job import Job, Outcome, StageError


def run(job: Job) -> Outcome:
    config = job.config
    engine = LocalEngine(
        job.path(config.model),
        fingerprint=job.inputs[config.model].fingerprint,
        cache=job.work / "completions.jsonl",
    )
    made = synth.run(
        config.method,
        tables.prompt_rows(job),
        engine,
        verifier=verifiers.get(config.verifier, root=job.root),
        samples=config.samples,
        sampling=Sampling(**config.sampling.model_dump()),
        output=config.output,
        seed=job.seed,
        on_progress=lambda done, total, tokens: job.progress(done, total, "prompts"),
        **(config.model_extra or {}),
    )
    if not made.rows:
        counts = ", ".join(f"{n} {reason}" for reason, n in made.counts.items() if n)
        raise StageError(f"stage '{job.name}' kept no rows ({counts})")
    tables.write_table(job.output / tables.DATA, made.rows)
    # A pair uses two candidates, so the candidates are counted beside the rows.
    others = {k: n for k, n in made.counts.items() if k != "kept" and k not in made.reasons()}
    others["candidates/used"] = made.counts["kept"]
    return Outcome(rows={"kept": len(made.rows), "dropped": made.reasons(), **others})
