"""Constitutional AI (arXiv 2212.08073): a written list of principles instead of people's labels.

Responses are criticised and revised under principles drawn for each prompt (SL-CAI, §3). For
preferences, revised responses are set against such as break a principle on purpose (Qwen2,
2407.10671 §4.2), or a judge compares two samples by a principle (RL-CAI, §4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from synth.constitutional import comparing, revising
from synth.constitutional.constitution import Principle, read
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.synthesis import SynthesisError

METHOD = "constitutional"
VERSION = 1
SOURCES = ("prompts",)
OUTPUTS = ("sft", "preference")
NEEDS = ("prompt",)


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of the constitutional methods; section numbers are of 2212.08073."""

    output: Literal["sft", "preference"] = "sft"
    labels: Literal["deviation", "feedback"] = "deviation"
    """preference: revised responses against such as break a principle on purpose, or a judge's
    choice between two samples, with its probability."""
    constitution: Path | None = None
    """A YAML file of principles; ours in the prompts' language by default."""
    revisions: int = 4
    """Rounds of critique and revision, each under one principle (§3.2: 4)."""
    keep: Literal["all", "last"] = "all"
    """sft: the revisions of all rounds (§3.2), or just the last; pairs have the last."""
    check: bool = True
    """A judge checks that what is chosen follows the principles of its rounds, and what is rejected
    does not. The paper trusts the model."""
    deviations: int = 1
    """deviation: responses that break a principle, each paired with the revised one."""
    judge: Any = None
    """Checks and compares responses; the model itself by default."""
    samples: int = 2
    """feedback: responses sampled and compared two by two, so an even number."""
    votes: int | None = None
    """feedback: the share of so many reasoned answers is the probability, for judges without
    log-probabilities. None takes the log-probabilities of the letters A and B (§4.1)."""
    top_logprobs: int = 20
    """feedback without `votes`: the likeliest first tokens that are looked at."""
    clamp: float | None = None
    """feedback: the greatest probability of a chosen response; 0.6, as §4.1 has it, for judges that
    reason first and are then too sure."""
    min_margin: float = 0.05
    """feedback: how far from 0.5 the probability must be, before `clamp`. The paper keeps all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(revisions=1, deviations=1, samples=2, votes=1, top_logprobs=2, min_margin=0.0)
        if self.samples % 2:
            raise SynthesisError(f"samples is {self.samples}; give an even number, to compare two")
        if self.clamp is not None and not 0.5 < self.clamp <= 1:
            raise SynthesisError(f"clamp is {self.clamp}; give more than 0.5 and at most 1")
        if not self.min_margin < 0.5:
            raise SynthesisError(f"min_margin is {self.min_margin}; give less than 0.5")
        principles = read(self.constitution, self.language)
        if self.deviates and not any(principle.avoid for principle in principles):
            raise SynthesisError(
                f"no principle of {self.constitution} has `avoid`, which labels 'deviation' needs; "
                "add it, or set labels to 'feedback'"
            )

    @property
    def deviates(self) -> bool:
        """Whether responses that break a principle are asked for."""
        return self.output == "preference" and self.labels == "deviation"

    @property
    def principles(self) -> tuple[Principle, ...]:
        return read(self.constitution, self.language)


def make(window: Window, settings: Settings) -> None:
    """Rows with the prompt's other columns and the names of the principles.

    sft: `{prompt, completion, principles}`. preference: `{prompt, chosen, rejected, principle}`; of
    labels 'feedback' also `probability`, the judge's that the chosen response is the better one.
    """
    if settings.output == "preference" and settings.labels == "feedback":
        comparing.keep_pairs(window, settings)
        return
    compliant = revising.compliant(window, settings)
    if settings.output == "sft":
        revising.keep(window, compliant)
    else:
        revising.keep_pairs(window, settings, compliant)


def metrics(tallies: Mapping[str, int], settings: Settings) -> dict[str, float]:
    """revisions: `revised`, share of the revisions that changed something. feedback: of the pairs
    that were judged in both orders, `orders_disagree`, the share whose two answers differ, and
    `first_preferred`, how often the response shown first was preferred; 0.5 is unbiased."""
    found = {}
    if tallies.get("revisions"):
        found["revised"] = tallies.get("revised", 0) / tallies["revisions"]
    if tallies.get("compared"):
        found["orders_disagree"] = tallies.get("orders_disagree", 0) / tallies["compared"]
        found["first_preferred"] = tallies.get("first_preferred", 0) / (2 * tallies["compared"])
    return found
