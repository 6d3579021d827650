"""Prompts from a file or a hub data set: columns named, duplicates dropped, some held out."""

import hashlib
import json
from typing import Any

import verifiers
from align.recipe.errors import did_you_mean
from align.stages import tables
from align.stages.job import Job, Outcome, StageError


def run(job: Job) -> Outcome:
    config = job.config
    raw = tables.read_rows(config.source, job.root, subset=config.subset, split=config.split)
    rows: dict[str, tables.Row] = {}
    dropped = {"duplicate": 0, "over_limit": 0}
    for number, row in enumerate(raw, 1):
        prompt = _prompt_row(job, number, row)
        if prompt["id"] in rows:
            dropped["duplicate"] += 1
        else:
            rows[prompt["id"]] = prompt
    # By hash, so that the held-out rows stay the same when the file grows or is reordered.
    shuffled = sorted(rows.values(), key=lambda r: r["id"])
    heldout, prompts = shuffled[: config.heldout], shuffled[config.heldout :]
    if config.limit is not None:
        dropped["over_limit"] = max(0, len(prompts) - config.limit)
        prompts = prompts[: config.limit]
    if not prompts:
        raise StageError(
            f"{config.source}: {len(rows)} distinct prompts, and heldout takes {config.heldout}; "
            "lower heldout"
        )
    tables.write_table(job.output / tables.PROMPTS, prompts)
    tables.write_table(job.output / tables.HELDOUT, heldout)
    return Outcome(
        rows={"kept": len(prompts) + len(heldout), "dropped": dropped},
        metrics={"prompts": len(prompts), "heldout": len(heldout)},
    )


def _prompt_row(job: Job, number: int, row: tables.Row) -> tables.Row:
    """One prompt row; its other columns go along for verifiers and rewards."""
    config = job.config
    given = {"prompt": config.prompt, "answer": config.answer, "solution": config.solution}
    named = {field: column for field, column in given.items() if column is not None}
    for field, column in named.items():
        if row.get(column) in (None, "", [], {}):  # 0 and False are answers
            raise StageError(
                f"{config.source}, row {number}: the column '{column}' is missing or empty"
                f"{did_you_mean(column, row)}; set `{field}` to the column to use"
            )
    named_verifier = row.get("verifier")
    if named_verifier is not None and named_verifier not in verifiers.NAMES:
        raise StageError(
            f"{config.source}, row {number}: the column 'verifier' names {named_verifier!r}, which "
            f"is none{did_you_mean(str(named_verifier), verifiers.NAMES)}; the verifiers are "
            f"{', '.join(verifiers.NAMES)}"
        )
    prompt = _conversation(config.source, number, row[config.prompt])
    text = json.dumps(prompt, ensure_ascii=False, sort_keys=True)
    rest = {k: v for k, v in row.items() if k not in {*named.values(), "id"}}
    found = {**rest, "id": hashlib.sha256(text.encode()).hexdigest()[:16], "prompt": prompt}
    if config.answer is not None:
        answer = row[config.answer]  # a list of tests, a table: as JSON, which verifiers read
        is_text = isinstance(answer, str)
        found["answer"] = answer if is_text else json.dumps(answer, ensure_ascii=False)
        found["solution"] = row[config.solution] if config.solution else None
    return found


def _conversation(source: str, number: int, value: Any) -> list[dict[str, str]]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, list) and all(
        isinstance(m, dict) and {"role", "content"} <= m.keys() for m in value
    ):
        return [{"role": m["role"], "content": m["content"]} for m in value]
    raise StageError(f"{source}, row {number}: a prompt is a text or a list of role and content")
