"""Rejection sampling (RFT, arXiv 2308.01825 §3.3): sample, keep what a verifier finds right.

As pairs, a right answer is set against a wrong one to the same prompt, as Qwen2 (2407.10671 §4.2)
does for mathematics. Distinct means here: different after whitespace is normalised.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from synth.pairing import pairs
from synth.synthesis import Row, Synthesis, SynthesisError
from verifiers import Verdict, grade_all

METHOD = "rejection_sampling"
VERSION = 1
"""Raised when the same samples would give other rows."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of rejection sampling."""

    verifier: Callable[..., Verdict]
    """Judges a completion against the row's `answer`."""
    sampling: Any
    """An `align.generate.Sampling`, or any dataclass that the engine takes."""
    samples: int = 8
    """Completions drawn for each prompt."""
    seed: int = 0
    output: Literal["sft", "preference"] = "sft"
    max_per_prompt: int | None = None
    """sft: distinct right completions kept of a prompt, the first ones; None keeps all."""
    pairs_per_prompt: int = 1
    """preference: pairs made of a prompt."""
    reference_solutions: bool = False
    """The row's worked `solution` counts as one more candidate, verified like the rest."""
    on_progress: Callable[[int, int, int], None] | None = None
    """The engine's: called with prompts done, prompts in all, new tokens."""

    def __post_init__(self) -> None:
        for name in ("samples", "max_per_prompt", "pairs_per_prompt"):
            value = getattr(self, name)
            if name == "max_per_prompt" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SynthesisError(
                    f"{METHOD}: {name} is {value!r}; give a whole number of at least 1"
                )
        if self.output not in ("sft", "preference"):
            raise SynthesisError(f"{METHOD}: output is {self.output!r}; give 'sft' or 'preference'")
        if not callable(self.verifier):
            raise SynthesisError(
                f"{METHOD}: verifier is {self.verifier!r}; give verifiers.get(name)"
            )
        if not dataclasses.is_dataclass(self.sampling) or isinstance(self.sampling, type):
            raise SynthesisError(
                f"{METHOD}: sampling is {self.sampling!r}; give an align.generate.Sampling"
            )


@dataclass(frozen=True)
class Candidate:
    """One completion of a prompt and what was found; `sample` is None for the worked solution."""

    text: str
    sample: int | None
    verdict: Verdict

    def provenance(self) -> dict[str, Any]:
        source = "reference" if self.sample is None else "sample"
        verdict = dataclasses.asdict(self.verdict)
        return {"source": source, "sample": self.sample, "verdict": verdict}


def run(prompts: Sequence[Row], engine: Any, settings: Settings) -> Synthesis:
    """Rows `{prompt, completion, provenance}` or `{prompt, chosen, rejected, provenance}`.

    A row also carries every other column of its prompt but `solution`. Reasons in the counts:
    `truncated` (cut off at max_tokens), `undecided:<reason>`, `duplicate`, and for sft `wrong` and
    `over_max`, for preference `unpaired`. Raises SynthesisError for a prompt row without `id`,
    `prompt` or `answer`, and `verifiers.VerifierError` for data that the verifier can't judge.
    """
    for number, row in enumerate(prompts):
        if missing := {"id", "prompt", "answer"} - set(row):
            raise SynthesisError(f"prompt row {number} has no {', '.join(sorted(missing))}")
    completions = engine.generate(
        [row["prompt"] for row in prompts],
        n=settings.samples,
        sampling=settings.sampling,
        seed=settings.seed,
        on_progress=settings.on_progress,
    )
    sizes = {len(group) for group in completions}
    if len(completions) != len(prompts) or sizes - {settings.samples}:
        raise SynthesisError(
            f"the engine returned {len(completions)} groups of {sorted(sizes)} completions; asked "
            f"were {len(prompts)} of {settings.samples}"
        )
    origin = _origin(engine, settings)
    make = _sft_rows if settings.output == "sft" else _preference_rows
    counts = Counter({"candidates": 0, "kept": 0, "prompts/total": len(prompts)})
    rows: list[Row] = []
    for row, group in zip(prompts, completions, strict=True):
        candidates = _distinct(_decided(row, group, settings, counts), counts)
        if not any(c.verdict.correct for c in candidates):
            counts["prompts/no_right_answer"] += 1
        rows += make(row, candidates, settings, origin, counts)
    return Synthesis(rows, dict(counts))


def _decided(
    row: Row, group: Sequence[Any], settings: Settings, counts: Counter[str]
) -> list[Candidate]:
    """Candidates that ended by themselves and that the verifier could judge."""
    counts["candidates"] += len(group)
    counts["candidates/sampled"] += len(group)
    texts: list[tuple[str, int | None]] = []
    for index, completion in enumerate(group):
        if completion.finish_reason == "length":
            counts["truncated"] += 1
        else:
            texts.append((completion.text, index))
    if settings.reference_solutions:
        if row.get("solution"):
            counts["candidates"] += 1
            counts["candidates/reference"] += 1
            texts.append((row["solution"], None))
        else:
            counts["prompts/no_reference_solution"] += 1
    different = list(dict(texts))
    graded = grade_all(settings.verifier, different, [row] * len(different))
    verdicts = dict(zip(different, graded, strict=True))
    decided = []
    for text, index in texts:
        if verdicts[text].correct is None:
            counts[f"undecided:{verdicts[text].reason}"] += 1
        else:
            decided.append(Candidate(text, index, verdicts[text]))
    return decided


def _distinct(candidates: list[Candidate], counts: Counter[str]) -> list[Candidate]:
    """The first of those that read the same."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(" ".join(candidate.text.split()), candidate)
    counts["duplicate"] += len(candidates) - len(first)
    return list(first.values())


def _sft_rows(
    row: Row, candidates: list[Candidate], settings: Settings, origin: dict, counts: Counter[str]
) -> list[Row]:
    right = [c for c in candidates if c.verdict.correct]
    kept = right[: settings.max_per_prompt]
    counts["wrong"] += len(candidates) - len(right)
    counts["over_max"] += len(right) - len(kept)
    counts["kept"] += len(kept)
    return [
        {
            **_columns(row),
            "completion": _assistant(candidate),
            "provenance": _json({**origin, "parent": row["id"], **candidate.provenance()}),
        }
        for candidate in kept
    ]


def _preference_rows(
    row: Row, candidates: list[Candidate], settings: Settings, origin: dict, counts: Counter[str]
) -> list[Row]:
    right = [c for c in candidates if c.verdict.correct]
    wrong = [c for c in candidates if not c.verdict.correct]
    if not wrong:
        counts["prompts/no_wrong_answer"] += 1
    chosen = pairs(right, wrong, settings.pairs_per_prompt, f"{settings.seed}:{row['id']}")
    used = {id(candidate) for pair in chosen for candidate in pair}
    counts["kept"] += len(used)
    counts["unpaired"] += len(candidates) - len(used)
    counts["pairs/kept"] += len(chosen)
    counts["pairs/over_max"] += len(right) * len(wrong) - len(chosen)
    return [
        {
            **_columns(row),
            "chosen": _assistant(better),
            "rejected": _assistant(worse),
            "provenance": _json(
                {
                    **origin,
                    "parent": row["id"],
                    "chosen": better.provenance(),
                    "rejected": worse.provenance(),
                }
            ),
        }
        for better, worse in chosen
    ]


def _origin(engine: Any, settings: Settings) -> dict[str, Any]:
    """What the provenance of all rows has in common."""
    verifier = settings.verifier
    name = getattr(verifier, "__qualname__", type(verifier).__qualname__)
    return {
        "method": METHOD,
        "method_version": VERSION,
        "model": engine.fingerprint,
        "sampling": dataclasses.asdict(settings.sampling),
        "seed": settings.seed,
        "verifier": f"{verifier.__module__}.{name}",
    }


def _columns(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "solution"}


def _assistant(candidate: Candidate) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": candidate.text}]


def _json(provenance: dict[str, Any]) -> str:
    return json.dumps(provenance, sort_keys=True, ensure_ascii=False)
