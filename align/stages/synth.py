"""Rows from a model by a synthesis method."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import synth
import verifiers
from align.generate import Sampling
from align.recipe.schema import Synth
from align.stages import tables
from align.stages.engines import open_engine
from align.stages.job import Job, Outcome, StageError
from align.stages.sources import Source, Unreadable, source_of

ROLES = ("judge", "reasoner", "embedder")
FILES = ("constitution", "templates", "seeds")


def run(job: Job) -> Outcome:
    config = job.config
    source = source_of(job)
    rows = tables.TableWriter(job.output / _table(config))
    rejected = tables.TableWriter(job.output / tables.REJECTED)
    unreadable: Counter[str] = Counter()
    with synth.Store(job.answers) as store, _Engines(job) as engines:
        stream = synth.stream(
            config.method,
            _readable(source, unreadable, rejected),
            engines.open(config.model),
            num_rows=source.num_rows,
            store=store,
            watch=lambda done, total, parts: job.progress(done, total, "rows", parts=parts),
            decontamination=_decontamination(job),
            **_settings(job, engines),
        )
        for part in stream:
            rows.add(part.rows)
            rejected.add([dataclasses.asdict(reject) for reject in part.rejects])
    dropped = {**unreadable, **stream.counts.dropped}
    rejected.close() if rejected.num_rows else rejected.discard()
    if not rows.num_rows:
        counts = ", ".join(f"{n} {reason}" for reason, n in dropped.items())
        raise StageError(
            f"stage '{job.name}' kept no rows ({counts or 'there were none to start from'}); to "
            f"see them: align data show {rejected.path}"
        )
    rows.close()
    if config.output == "prompts":
        tables.write_table(job.output / tables.HELDOUT, [])
    counts = stream.counts
    made = {"source": counts.source, "items": counts.items, "items/used": counts.used}
    return Outcome(
        rows={"kept": counts.rows, "dropped": dropped, **made, **counts.notes},
        metrics=stream.metrics,
    )


def _table(config: Synth) -> str:
    return tables.PROMPTS if config.output == "prompts" else tables.DATA


def _readable(
    source: Source, unreadable: Counter[str], rejected: tables.TableWriter
) -> Iterator[tables.Row]:
    """The rows that could be read; the others are counted and put with the rejected ones."""
    for row in source.rows:
        if isinstance(row, Unreadable):
            unreadable[row.reason] += 1
            reject = synth.Reject(row.where, row.where, row.reason, row.detail, "", "{}", "{}")
            rejected.add([dataclasses.asdict(reject)])
        else:
            yield row


def _decontamination(job: Job) -> Any:
    if not job.config.decontaminate:
        return None
    from synth.decontamination import Evaluations

    return Evaluations.read([job.root / name for name in job.config.decontaminate])


class _Engines:
    """The engines of a job, each opened once."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._opened: dict[str, Any] = {}

    def open(self, stage: str) -> Any:
        if stage not in self._opened:
            config = self.job.config
            self._opened[stage] = open_engine(
                self.job, stage, engine=config.engine, engine_args=config.engine_args
            )
        return self._opened[stage]

    def __enter__(self) -> "_Engines":
        return self

    def __exit__(self, *_: object) -> None:
        for engine in self._opened.values():
            if hasattr(engine, "close"):
                engine.close()


def _settings(job: Job, engines: _Engines) -> dict[str, Any]:
    """What the recipe says, as the method takes it; what it does not say is left to the method."""
    config = job.config
    found = {
        "sampling": Sampling(**config.sampling.model_dump()),
        "seed": job.seed,
        **(config.model_extra or {}),
    }
    for role in ROLES:
        if getattr(config, role) is not None:
            found[role] = engines.open(getattr(config, role))
    if config.judges is not None:
        found["judges"] = [engines.open(name) for name in config.judges]
    for name in FILES:
        if getattr(config, name) is not None:
            found[name] = job.root / getattr(config, name)
    if config.verifier is not None:
        found["verifier"] = verifiers.get(config.verifier, root=job.root)
    if config.reward is not None:
        found["reward"] = _reward(job, config.reward)
    if "output" in {field.name for field in dataclasses.fields(synth.settings(config.method))}:
        found["output"] = config.output
    return found


def _reward(job: Job, stage: str) -> Any:
    from rewards import RewardModel

    model = RewardModel(job.path(stage), name=stage)
    model.fingerprint = job.inputs[stage].fingerprint
    return model
