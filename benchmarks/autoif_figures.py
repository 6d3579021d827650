"""Cross-check AutoIF's published sample of functions and cases, and write benchmarks/autoif.md.

    python benchmarks/autoif_figures.py --data FILE

FILE is sample_data/eval_func_rft.jsonl of github.com/QwenLM/AutoIF: five instructions, each with
eight answers of a model, with a function and cases. It is not part of this project.
"""

import argparse
import json
import os
import platform
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown import table

import synth
from align.generate import Completion, Sampling
from synth.instruction_verification import running
from verifiers import code
from verifiers.strict_json import StrictJSONError, loads

PAGE = Path(__file__).resolve().parent / "autoif.md"

ROUNDS = 5

_FENCED = re.compile(r"```json(.*?)```", re.DOTALL)


class Published:
    """An engine that gives the published answers in our JSON, and a word to all else it is asked.

    literal: texts such as "True" are no truth values, as in the released code.
    """

    fingerprint = "published"
    follows_schemas = True

    def __init__(self, answers: Mapping[str, Sequence[str]], *, literal: bool) -> None:
        self.answers, self.literal = answers, literal

    def answer(
        self,
        prompts: Sequence[list[dict[str, str]]],
        samples: Sequence[int],
        *,
        on_answers: Any,
        schema: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        texts = []
        for prompt, sample in zip(prompts, samples, strict=True):
            asked = prompt[-1]["content"]
            mine = next((a for i, a in self.answers.items() if f"\n{i}\n" in asked), None)
            texts.append(self._ours(mine[sample]) if schema and mine else "Yes.")
        on_answers([(i, _completion(text)) for i, text in enumerate(texts)])

    def _ours(self, answer: str) -> str:
        found = published(answer)
        if found is None:
            return answer
        cases = [
            {"response": case["input"], "why": "", "follows": self._label(case["output"])}
            for case in found["cases"]
        ]
        return json.dumps({"cases": cases, "function": found["func"]})

    def _label(self, output: bool | str) -> bool | str:
        return "a text" if self.literal and isinstance(output, str) else output


def _completion(text: str) -> Completion:
    return Completion(text=text, token_ids=(), logps=(), finish_reason="stop", num_tokens=1)


@dataclass(frozen=True)
class Figures:
    """How many there are of each; loaded are distinct functions that compile."""

    answers: int
    unreadable: int
    cases: int
    distinct: int
    kept_cases: int
    loaded: int
    kept_functions: int
    kept_instructions: int


def figures(
    answers: Mapping[str, Sequence[str]], *, literal: bool = False, **settings: Any
) -> Figures:
    """Of one run over all instructions; nothing is translated back, and no quality is asked for."""
    with tempfile.TemporaryDirectory() as folder:
        queries = Path(folder, "queries.txt")
        queries.write_text("What is there to see?\n")
        made = synth.run(
            "instruction_verification",
            [{"id": text, "text": text} for text in answers],
            Published(answers, literal=literal),
            sampling=Sampling(),
            seeds=queries,
            min_query_chars=1,
            back_translations=0,
            quality_votes=0,
            samples=1,
            reasks=0,
            **settings,
        )
    dropped = Counter(made.counts.dropped)
    unreadable = dropped["write:unparsed"]
    num_answers = sum(map(len, answers.values()))
    cases = sum(len(found["cases"]) for found in readable(answers))
    not_loaded = ("duplicate", "undefined", "compile_error")
    functions = num_answers - unreadable
    return Figures(
        answers=num_answers,
        unreadable=unreadable,
        cases=cases,
        distinct=cases - dropped["case:duplicate"],
        kept_cases=round(made.metrics["cases_kept"] * cases),
        loaded=functions - sum(dropped[f"function:{word}"] for word in not_loaded),
        kept_functions=round(made.metrics["functions_kept"] * functions),
        kept_instructions=round(made.metrics["instructions_kept"] * len(answers)),
    )


def readable(answers: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [found for some in answers.values() for found in map(published, some) if found]


def published(answer: str) -> dict[str, Any] | None:
    """The JSON of a published answer; None if it is none."""
    try:
        return loads(_FENCED.search(answer)[1])
    except StrictJSONError:
        return None


def conformance(answers: Mapping[str, Sequence[str]]) -> str:
    rules = {"thresholds": "released", "guards": False}
    ours, literal = figures(answers, **rules), figures(answers, literal=True, **rules)
    cases = [case for found in readable(answers) for case in found["cases"]]
    texts = sum(isinstance(case["output"], str) for case in cases)
    rows = [
        ["answers", f"{ours.answers}, of which {ours.unreadable} are not JSON"],
        ["cases", f"{ours.cases}, of which {texts} are labelled by a text"],
        ["distinct cases", ours.distinct],
        ["cases that some function agrees with", ours.kept_cases],
        ["the same, if a text is no truth value", literal.kept_cases],
        ["functions that compile", ours.loaded],
        ["functions that reach 0.8", ours.kept_functions],
        ["instructions that survive", f"{ours.kept_instructions} of {len(answers)}"],
    ]
    return table([["what", "number"], *([name, str(number)] for name, number in rows)])


def rules(answers: Mapping[str, Sequence[str]]) -> str:
    rows = [["thresholds", "guards", "cases kept", "functions kept", "instructions kept"]]
    for thresholds in ("paper", "released"):
        for guards in (False, True):
            found = figures(answers, thresholds=thresholds, guards=guards)
            numbers = (found.kept_cases, found.kept_functions, found.kept_instructions)
            rows.append([thresholds, "yes" if guards else "no", *map(str, numbers)])
    return table(rows)


def speed(answers: Mapping[str, Sequence[str]]) -> str:
    """All functions on the responses of all cases: one call a function, and one a response."""
    requests = []
    for instruction in answers:
        found = readable({instruction: answers[instruction]})
        responses = list(dict.fromkeys(case["input"] for one in found for case in one["cases"]))
        functions = [{"function": one["func"], "cpu_s": 5.0} for one in found]
        requests += [{**function, "responses": responses} for function in functions]
    single = [{**r, "responses": [one]} for r in requests for one in r["responses"]]
    seconds: dict[str, list[float]] = {"together": [], "singly": []}
    for _ in range(ROUNDS):
        for name, some in (("together", requests), ("singly", single)):
            start = time.monotonic()
            running.observed(some)
            seconds[name].append(time.monotonic() - start)
    together, singly = (statistics.median(seconds[name]) for name in seconds)
    return (
        f"{len(single)} verdicts of functions on responses take {together:.2f} s with one call a "
        f"function and {singly:.2f} s with one call a response: **{singly / together:.1f}** times "
        f"as long (medians of {ROUNDS} interleaved rounds)."
    )


def page(path: Path) -> str:
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    answers = {line["instruction"]: line["gpt-answer"] for line in lines}
    level = code.sandbox().isolation.level
    return f"""# AutoIF's published sample, cross-checked

Made by `python benchmarks/autoif_figures.py` on {os.cpu_count()} cores ({platform.machine()}),
Python {platform.python_version()}, in the sandbox at level {level}, by the method
`instruction_verification` itself, on an engine that gives the published answers.

## By the rules of the released code

{conformance(answers)}

## By other rules

Guards are the rules that the paper does not have: a function has no say about cases of the same
answer, functions that always say the same have none at all, and cases must show both what follows
the instruction and what does not.

{rules(answers)}

## Speed

{speed(answers)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    PAGE.write_text(page(parser.parse_args().data), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
