"""Response filtering (Qwen2.5, arXiv 2412.15115 §4.1): what every one of several judges finds
flawless stays.

A critic writes down what is wrong with a response, and scorers grade it, none of them knowing what
the others say. How much unanimity is worth rests on how unlike they are: n independent judges that
each pass a share e of what is flawed let e^n through, n copies of one model still e; and of what is
flawless, judges that each refuse a share d leave (1 - d)^n. So a single judge beside the critic, or
several of one family, buys little. The metrics show which of this is the case.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synth.filter.audit import FLAWED, FLAWLESS, UNDECIDED, metrics
from synth.flow.item import Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.rows.messages import as_text
from synth.synthesis import SynthesisError

METHOD = "filter"
VERSION = 1
SOURCES = ("data",)
OUTPUTS = ("sft",)
NEEDS = ("prompt", "completion")

__all__ = ["METHOD", "NEEDS", "OUTPUTS", "SOURCES", "VERSION", "Settings", "make", "metrics"]

CRITIC_SCHEMA = {
    "type": "object",
    "properties": {
        "critique": {"type": "string", "minLength": 1},
        "verdict": {"enum": ["flawless", "flawed"]},
    },
    "required": ["critique", "verdict"],
    "additionalProperties": False,
}
SCORE_SCHEMA = {
    "type": "object",
    "properties": {
        "score": {"type": "integer", "minimum": 1, "maximum": 10},
        "flawless": {"type": "boolean"},
    },
    "required": ["score", "flawless"],
    "additionalProperties": False,
}

_WORDS = {FLAWLESS: "flawless", FLAWED: "flawed", UNDECIDED: "undecided"}


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of response filtering. The report publishes no thresholds; these are ours."""

    judges: Sequence[Any] = ()
    """Scorers beside the critic, which is the stage's model. They should be of different families:
    the unanimity of clones is worth no more than one of them."""
    min_score: int = 9
    """A scorer finds a response flawless if it says so and grades it at least this, of 10."""
    min_yield: float = 0.1
    """Least share of a domain's rows that should stay; a domain with less is named in the metrics,
    as what no judge understands may be gone from the data altogether."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(min_score=1, min_yield=0.0)
        if self.min_score > 10:
            raise SynthesisError(f"min_score is {self.min_score}; scores go from 1 to 10")
        if self.min_yield > 1:
            raise SynthesisError(f"min_yield is {self.min_yield}; give a share of at most 1")

    @property
    def names(self) -> list[str]:
        """Of the judges, as reasons and metrics have them: critic, scorer_1, scorer_2, ..."""
        return ["critic", *(f"scorer_{number}" for number, _ in enumerate(self.judges, 1))]


def make(window: Window, settings: Settings) -> None:
    """The rows that all judges find flawless, as they are, with the scorers' `scores`.

    The others go as `<judge>:undecided` by the first that could not be read or asked, else as
    `<judge>:flawed` by the first that says so. Every judge sees every row, so that all can be held
    against each other. A column `domain` splits the yield, a true or false column `flawless` (of
    planted rows) tells right verdicts from wrong ones.
    """
    verdicts: dict[str, list[str]] = {item.id: [] for item in window.items}
    scores: dict[str, list[int]] = {item.id: [] for item in window.items}
    critiques: dict[str, str] = {}
    for item, said in _asked(window, "critic", "critic", CRITIC_SCHEMA, None):
        verdict = UNDECIDED
        if said:
            verdict = FLAWLESS if said[0]["verdict"] == "flawless" else FLAWED
            critiques[item.id] = said[0]["critique"]
        verdicts[item.id].append(verdict)
    for name, judge in zip(settings.names[1:], settings.judges, strict=True):
        for item, said in _asked(window, name, "score", SCORE_SCHEMA, judge):
            verdict = UNDECIDED
            if said:
                is_flawless = said[0]["flawless"] and said[0]["score"] >= settings.min_score
                verdict = FLAWLESS if is_flawless else FLAWED
                scores[item.id].append(said[0]["score"])
            verdicts[item.id].append(verdict)
    for item in window.items:
        _settle(window, settings, item, verdicts[item.id], scores[item.id], critiques.get(item.id))


def _asked(
    window: Window, step: str, prompt: str, schema: dict[str, Any], engine: Any
) -> list[tuple[Item, list[Any]]]:
    asked = window.prompts.get(prompt)
    return window.judge(
        step,
        window.items,
        lambda item: asked.fill(
            {
                "prompt": as_text(item.columns["prompt"]),
                "response": as_text(item.columns["completion"]),
            }
        ),
        schema=schema,
        engine=engine,
        required=False,
    )


def _settle(
    window: Window,
    settings: Settings,
    item: Item,
    verdicts: Sequence[str],
    scores: Sequence[int],
    critique: str | None,
) -> None:
    pattern = "".join(verdicts)
    truth = item.columns.get("flawless")
    known = {True: FLAWLESS, False: FLAWED}[truth] if isinstance(truth, bool) else UNDECIDED
    window.tally(f"pattern/{known}/{pattern}")
    if item.columns.get("domain") is not None:
        is_kept = "kept" if set(verdicts) == {FLAWLESS} else "dropped"
        window.tally(f"domain/{is_kept}/{item.columns['domain']}")
    said = ", ".join(
        f"{name}: {_WORDS[verdict]}" for name, verdict in zip(settings.names, verdicts, strict=True)
    )
    detail = f"{said}. {critique}" if critique else said
    for verdict in (UNDECIDED, FLAWED):
        if verdict in verdicts:
            name = settings.names[verdicts.index(verdict)]
            window.reject(item, f"{name}:{_WORDS[verdict]}", detail)
            return
    window.keep({**item.columns, "scores": list(scores)}, item)
