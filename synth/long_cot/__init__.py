"""Long chains of thought for a cold start (Qwen3, arXiv 2505.09388 §4.1).

Queries are filtered and told their domain by the model; a reasoner answers each several times; of
the right answers those stay that six rules find nothing wrong with; and a small, balanced part of
them is selected: enough to teach the pattern, and no more. The paper publishes the rules and no
thresholds; the defaults here are ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.flow.item import Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.long_cot import candidates, queries, rules
from synth.long_cot.selection import select
from synth.rows.messages import assistant
from synth.synthesis import SynthesisError
from verifiers import Verdict

__all__ = [
    "METHOD",
    "NEEDS",
    "OUTPUTS",
    "SOURCES",
    "VERSION",
    "Settings",
    "make",
    "metrics",
    "select",
]

METHOD = "long_cot"
VERSION = 1
SOURCES = ("prompts",)
OUTPUTS = ("sft",)
NEEDS = ("prompt", "answer")


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of the cold start. The stage's model is the one that answers without thought."""

    verifier: Callable[..., Verdict]
    """Judges an answer against the row's `answer`."""
    reasoner: Any = None
    """Thinks and answers; the stage's model by default."""
    judge: Any = None
    """Looks at queries and at what the reasoner wrote; the stage's model by default."""
    samples: int = 4
    """Answers drawn of the reasoner for each query."""
    instructed: bool = True
    """Tell the reasoner to think between tags (prompt `think`); false for one that does anyway."""
    direct_tokens: int = 32
    """The most tokens of an answer without thought; queries it solves are dropped. 0: not asked."""
    domains: Sequence[str] = ("mathematics", "science", "logic", "programming", "other")
    """What a query may be about; a row with a column `domain` keeps its own."""
    repeat_words: int = 12
    """So many words that came before in the same order are a repetition."""
    max_repeated: float = 0.2
    """Most of an answer's words, as a share, that may lie in repetitions."""
    max_foreign: float = 0.01
    """Most of its words, as a share, that may be of scripts which the query is not in."""
    review: bool = True
    """Have the judge look for guesswork, contradiction and shifts of style, as code can't."""
    seeds: Path | None = None
    """A JSONL file of validation items (`prompt`, `question` or `text`), or a plain text a line."""
    validation: Sequence[str] = ()
    """More of them."""
    overlap_words: int = 8
    """Validation items are compared by runs of so many words."""
    max_overlap: float = 0.5
    """Most of a validation item's runs, as a share, that a query or an answer may have."""
    embedder: Any = None
    """Also compares queries with validation items by meaning."""
    max_cosine: float = 0.9
    """With an embedder: the highest cosine similarity that a query may have."""
    max_per_prompt: int | None = 1
    """Answers kept of a query, the least repetitive first; None keeps all."""
    per_domain: int | None = None
    """Rows selected of a domain at most."""
    max_rows: int | None = None
    """Rows selected in all, taken from the domains in turn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(samples=1, direct_tokens=0, repeat_words=2, overlap_words=2)
        self.at_least(max_repeated=0.0, max_foreign=0.0, max_overlap=0.0, max_cosine=0.0)
        self.at_least(max_per_prompt=1, per_domain=1, max_rows=1)
        if not callable(self.verifier):
            raise SynthesisError(f"verifier is {self.verifier!r}; give verifiers.get(name)")
        for name in ("domains", "validation"):
            if isinstance(getattr(self, name), str):
                raise SynthesisError(f"{name} is {getattr(self, name)!r}; give a list of texts")
        if not self.domains:
            raise SynthesisError("domains is empty; give at least one")


def make(window: Window, settings: Settings) -> None:
    """Rows whose completion is `<think>...</think>` and an answer, with `domain` and `pass_rate`.

    Queries without one right answer are rejected as `verify:always_wrong`: a person should look at
    them, for it may be the reference that is wrong.
    """
    items = queries.filtered(window, window.items, settings)
    right, pass_rates = candidates.right(window, items, settings)
    for rule in rules.in_order(settings):
        right = rule(window, right, settings)
    of_query: dict[str, list[Item]] = {}
    for candidate in right:
        of_query.setdefault(candidate.source.id, []).append(candidate)
    for item in items:
        found = sorted(of_query.get(item.id, []), key=lambda one: one.value.repeated)
        for candidate in found[: settings.max_per_prompt]:
            row = {**item.columns, "pass_rate": pass_rates[item.id]}
            window.keep({**row, "completion": assistant(candidate.value.text)}, candidate)
        for candidate in found[len(found[: settings.max_per_prompt]) :]:
            window.reject(candidate, "choose:over_max")


def metrics(tallies: Mapping[str, int], settings: Settings) -> dict[str, float]:
    """pass_rate: right answers of those that could be judged; always_wrong: queries without one."""
    found = {"always_wrong": float(tallies.get("always_wrong", 0))}
    if tallies.get("judged"):
        found["pass_rate"] = tallies.get("right", 0) / tallies["judged"]
    return found
