"""Every model on the same held-out prompts and prose, with 95 % intervals."""

import json

import verifiers
from align.evaluate import accuracy, perplexity
from align.generate import LocalEngine, Sampling
from align.stages import tables
from align.stages.job import Job, Outcome

OUTCOMES = ("right", "wrong", "truncated", "undecided")
MEASURES = {
    "accuracy": {"unit": "%", "better": "higher"},
    "prose_perplexity": {"unit": "", "better": "lower"},
}


def run(job: Job) -> Outcome:
    config = job.config
    prompts = tables.prompt_rows(job, tables.HELDOUT)
    verify = verifiers.get(config.verifier, root=job.root)
    prose = []
    if config.perplexity:
        prose = [r["text"] for r in tables.read_table(job.path(config.perplexity) / tables.PROSE)]
    results, metrics = {}, {}
    for number, name in enumerate(config.models):
        engine = LocalEngine(
            job.path(name),
            fingerprint=job.inputs[name].fingerprint,
            cache=job.work / "completions.jsonl",
        )
        results[name] = accuracy(
            engine,
            prompts,
            verify,
            sampling=Sampling(**config.sampling.model_dump()),
            seed=job.seed,
            on_progress=lambda done, total, tokens, before=number: job.progress(
                before * total + done, len(config.models) * total, "answers"
            ),
        )
        metrics[f"{name}_accuracy"] = results[name]["accuracy"]
        if prose:
            results[name]["prose"] = _perplexity(engine, prose)
            metrics[f"{name}_perplexity"] = results[name]["prose"]["perplexity"]
    scores = _scores(min(config.shown, len(prompts)), results)
    text = json.dumps(scores, indent=1, ensure_ascii=False)
    (job.output / "scores.json").write_text(text, encoding="utf-8")
    return Outcome(rows={"kept": len(prompts), "dropped": {}}, metrics=metrics)


def _perplexity(engine: LocalEngine, prose: list[str]) -> dict:
    context = min(1024, engine.model.config.max_position_embeddings)
    return perplexity(engine.model, engine.tokenizer, prose, seq_len=context, batch=16)


def _scores(shown: int, results: dict) -> dict:
    """scores.json: what the report's table and samples are made of."""
    models = {name: {"accuracy": _cell(result)} for name, result in results.items()}
    for name, result in results.items():
        if "prose" in result:
            prose = result["prose"]
            models[name]["prose_perplexity"] = {
                "value": prose["perplexity"],
                "low": prose["low"],
                "high": prose["high"],
                "n": prose["tokens"],
            }
    tasks = {
        name: {task: _cell(score) for task, score in result["tasks"].items()}
        for name, result in results.items()
    }
    counts = {name: {o: r[o] for o in OUTCOMES} for name, r in results.items()}
    samples = [_sample(index, results) for index in range(shown)]
    return {
        "metrics": MEASURES,
        "models": models,
        "tasks": tasks,
        "counts": counts,
        "samples": samples,
    }


def _cell(score: dict) -> dict:
    return {"value": score["accuracy"], **{k: score[k] for k in ("low", "high", "n")}}


def _sample(index: int, results: dict) -> dict:
    """The same problem answered by every model."""
    answers = {name: result["samples"][index] for name, result in results.items()}
    first = next(iter(answers.values()))
    right = {"right": True, "undecided": None}
    return {
        "prompt": first["prompt"][-1]["content"],
        "answer": first["answer"],
        "answers": {
            name: {"text": a["completion"], "correct": right.get(a["outcome"], False)}
            for name, a in answers.items()
        },
    }
