"""AutoIF (arXiv 2406.13542): instructions that functions written by the model can verify.

For each instruction the model writes functions and cases that check each other in the sandbox; what
the functions ask for, put in words again, must not contradict the instruction. Then it is attached
to queries, and responses are kept by the functions and for their quality.

A model confirms itself easily: a function agrees with the cases of the same answer, and one that
always says yes with most cases. `guards` are rules against that which the paper does not have.

Source rows are instructions (`text`), queries come from the file `seeds`. The paper's preference
rows made of cases are left out. Its online DPO is this method with the trained model, or, with the
same functions, `rejection_sampling` on the rows of output `prompts` with verifier `function`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import orjson

from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.instruction_verification import (
    checking,
    judging,
    meaning,
    queries,
    responses,
    rows,
    writing,
)
from synth.instruction_verification.queries import Query
from synth.instruction_verification.thresholds import (
    BOUNDS,
    PRESETS,
    Thresholds,
    check_bound,
)
from synth.synthesis import Row, SynthesisError

METHOD = "instruction_verification"
VERSION = 1
SOURCES = ("corpus",)
OUTPUTS = ("sft", "preference", "prompts")
NEEDS = ("text",)
RUNS_CODE = True


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of AutoIF. Where two values stand, they are those of the two `thresholds`; a bound
    is written as in "> 0.5"."""

    seeds: Path | None = None
    """The queries: a text file with one a line, or JSON lines with `prompt`, as a text or messages.
    Always needed."""
    output: Literal["sft", "preference", "prompts"] = "sft"
    """prompts: queries with a good response, with the functions as `answer`, for GRPO."""
    thresholds: Literal["paper", "released"] = "paper"
    """The values of the settings that are None: the paper's (§3.2, §3.3), or its code's."""
    guards: bool = True
    """Beyond the paper: a function has no say about the cases of its own answer; functions that
    come to nothing or always say the same have none at all; and of the cases that are kept some
    follow the instruction and some do not."""
    judge: Any = None
    """Compares instructions and scores responses; the model by default."""
    rewrites: int = 0
    """New instructions that the model makes of each row (§3.2; appendix C: 100)."""
    verifier_samples: int = 8
    """Answers with a function and cases drawn for each instruction (K of §3.2)."""
    cases_per_answer: int = 3
    """Cases asked for in each of them (appendix E)."""
    min_functions: int | None = None
    """Distinct functions that an instruction must have; 1 or 3."""
    min_cases: int | None = None
    """Distinct cases that it must have; 1 or 10."""
    case_kept: str | None = None
    """The share of the functions that agree with a case which is kept; > 0.5 or > 0 (any)."""
    function_kept: str | None = None
    """The share of the kept cases that a function which is kept agrees with; > 0.5 or >= 0.8."""
    back_translations: int | None = None
    """Functions of an instruction, best first, that are put in words again; all or 3. Another one's
    contradiction is not seen. With 0 this check is left out."""
    queries_per_instruction: int = 16
    """Queries that an instruction is attached to (appendix C), chosen by its text."""
    min_query_chars: int | None = None
    """Shorter queries are left out; 1 or 21."""
    max_query_chars: int | None = None
    """Longer queries are left out; no limit or 299."""
    samples: int = 8
    """Responses drawn for each query with an instruction (appendix C)."""
    response_kept: str | None = None
    """sft, prompts: the share of the functions that a good response passes; > 0.5 or > 0."""
    quality_votes: int = 1
    """Scores asked for each such response, of which the mean counts. With 0 none is asked for."""
    quality_kept: str | None = None
    """The score from 1 to 10 of a good response; >= 8 or > 8."""
    max_per_prompt: int | None = None
    """sft: good responses kept of a query with an instruction, best first; None keeps all."""
    chosen_kept: str | None = None
    """preference: the share of the functions that a chosen response passes; > 0.5 or >= 0.5."""
    rejected_kept: str | None = None
    """preference: and that a rejected one passes; <= 0 in both."""
    pairs_per_prompt: int = 1
    """preference: pairs made of a query with an instruction; the code makes up to 4."""
    cpu_s: float = 5.0
    """Processor time that a function has for a response, in seconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(rewrites=0, verifier_samples=1, cases_per_answer=1, min_functions=1)
        self.at_least(min_cases=1, back_translations=0, queries_per_instruction=1)
        self.at_least(min_query_chars=1, max_query_chars=1, samples=1, quality_votes=0)
        self.at_least(max_per_prompt=1, pairs_per_prompt=1, cpu_s=0.1)
        for name in BOUNDS:
            check_bound(name, getattr(self.limits, name), ">")
        check_bound("rejected_kept", self.limits.rejected_kept, "<")
        if self.seeds is None:
            raise SynthesisError("seeds is missing; give a file of queries, one a line")
        _ = self.queries  # what is wrong with the file is said at once

    @property
    def limits(self) -> Thresholds:
        """The thresholds as they hold."""
        given = {field.name: getattr(self, field.name) for field in fields(Thresholds)}
        given = {name: value for name, value in given.items() if value is not None}
        return replace(PRESETS[self.thresholds], **given)

    @property
    def queries(self) -> Sequence[Query]:
        """Those that are long and short enough."""
        limits = self.limits
        return queries.read(self.seeds, limits.min_query_chars, limits.max_query_chars)


def make(window: Window, settings: Settings) -> None:
    """Rows with `prompt` (the query and the instruction), `instruction`, `query`, and as `answer`
    the functions, for the verifier `function`, which goes by the majority of them.

    sft: `{completion, pass_rate, quality}`; preference: `{chosen, rejected, pass_rate, quality}`,
    of the chosen response; prompts: `{pass_rate}`, the share of the responses that are good.
    """
    found = writing.instructions(window, settings)
    window.tally("instructions", len(found))
    writing.write(window, found, settings)
    found = checking.cross_check(window, found, settings)
    window.tally("checked", len(found))
    found = meaning.translate_back(window, found, settings)
    window.tally("instructions_kept", len(found))
    tasks = responses.tasks(window, found, settings)
    responses.respond(window, tasks, settings)
    judging.follow(window, tasks, settings)
    judging.score(window, tasks, settings)
    for task in tasks:
        rows.keep(window, task, settings)
    for instruction in found:
        instruction.settle(window, "choose:no_row")


@dataclass(frozen=True)
class Selection:
    """Which rows stay, and new ids for them where there are any. Rows go by their number."""

    duplicates: frozenset[int]
    ids: Sequence[str]
    metrics: Mapping[str, float]

    def dropped(self, number: int) -> str | None:
        return "select:duplicate" if number in self.duplicates else None

    def columns(self, number: int) -> Mapping[str, Any]:
        return {"id": self.ids[number]} if self.ids else {}


def select(read: Callable[[], Iterator[Row]], settings: Settings) -> Selection:
    """Of equal rows the first: instructions made of different rows may be the same (§3.2).

    Prompts get an id each, as what is sampled for them must not be mixed up.
    """
    seen: set[bytes] = set()
    duplicates, ids = set(), []
    for number, row in enumerate(read()):
        parts = [row["prompt"], *(row.get(name) for name in ("completion", "chosen", "rejected"))]
        digest = blake2b(orjson.dumps(parts), digest_size=16).digest()
        if digest in seen:
            duplicates.add(number)
        seen.add(digest)
        if settings.output == "prompts":
            ids.append(orjson.loads(row["provenance"])["row"])
    return Selection(frozenset(duplicates), ids, {})


def metrics(tallies: Mapping[str, int], settings: Settings) -> dict[str, float]:
    """Shares of what there was: `functions_kept`, `cases_kept`, `instructions_kept`; of the checked
    instructions `contradictions`; of the responses that were judged `followed`. And `queries`, the
    number of those that are long and short enough."""
    of = {
        "functions_kept": "functions",
        "cases_kept": "cases",
        "instructions_kept": "instructions",
        "contradictions": "checked",
        "followed": "responses",
    }
    shares = {
        name: tallies.get(name, 0) / tallies[whole]
        for name, whole in of.items()
        if tallies.get(whole)
    }
    return {**shares, "queries": float(len(settings.queries))}
