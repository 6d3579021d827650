"""Responses under many system prompts (Qwen2.5, arXiv 2412.15115 §4.1, robustness to them).

A set of varied system prompts is written by the model, from combinations of axes that code lays
out. Each data row is answered anew under some of them, and a judge keeps responses that follow the
system prompt and still answer the query. How much quality varies between system prompts, which the
report wants small, is in the metrics. It publishes no thresholds; the defaults are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from synth.flow.item import Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.rows.messages import assistant, said
from synth.synthesis import SynthesisError
from synth.system_prompts import axes, judging, quality, writing
from synth.system_prompts.writing import SystemPrompt

METHOD = "system_prompts"
VERSION = 1
SOURCES = ("data",)
OUTPUTS = ("sft",)
NEEDS = ("prompt", "completion")


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of the system prompts."""

    system_prompts: int = 200
    """Size of the set that is written; the first ones stay the same when it grows."""
    seeds: Path | None = None
    """A YAML file of axes; ours in the prompts' language by default."""
    min_wishes: int = 2
    """Fewest axes that a system prompt says something about."""
    max_wishes: int = 4
    """Most axes; the more there are, the more often they contradict a dialogue."""
    max_characters: int = 1500
    """Longer system prompts can't be used."""
    max_similarity: float = 0.7
    """Of a system prompt to one before it, as the Jaccard index of their runs of three words; one
    above that is a near-duplicate."""
    per_row: int = 1
    """System prompts that each row is answered under, chosen by a hash of its id."""
    own_system: Literal["reject", "replace"] = "reject"
    """What becomes of rows that have a system prompt already, which may say what the answer needs.
    """
    samples: int = 1
    """Responses drawn under each system prompt; the best one is kept."""
    max_quoted: int = 12
    """Longest run of words that a response may share with its system prompt; more recites it."""
    judge: Any = None
    """Judges contradictions and responses; the model itself by default."""
    votes: int = 1
    """Judgements of each response; more than half must accept it, and the mean score counts."""
    min_score: float = 7.0
    """Responses whose score from 1 to 10 is lower go."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(system_prompts=1, min_wishes=1, max_characters=1, max_similarity=0.0)
        self.at_least(per_row=1, samples=1, max_quoted=1, votes=1, min_score=1.0)
        if self.max_similarity > 1:
            raise SynthesisError(f"max_similarity is {self.max_similarity}; give at most 1")
        if self.min_score > 10:
            raise SynthesisError(f"min_score is {self.min_score}; give at most 10")
        if self.per_row > self.system_prompts:
            raise SynthesisError(
                f"per_row {self.per_row} is above system_prompts {self.system_prompts}"
            )
        assert self.combinations  # raises if the axes give too few

    @property
    def combinations(self) -> Sequence[axes.Combination]:
        """What each system prompt of the set is to ask for."""
        return axes.combinations(
            axes.read(self.seeds, self.language),
            self.system_prompts,
            self.min_wishes,
            self.max_wishes,
            self.seed,
        )


def make(window: Window, settings: Settings) -> None:
    """Rows `{prompt, completion, system_prompt, wishes, score}`, `system_prompt` being its number
    in the set; at most `per_row` for each source row."""
    system_prompts = writing.write(window, settings)
    dialogues = [
        child
        for item in window.items
        if _is_usable(window, item, settings)
        for child in _under(window, item, system_prompts, settings)
    ]
    responses = [
        child
        for group in _responses(window, judging.fitting(window, dialogues, settings), settings)
        for child in group
        if judging.is_sound(window, child, settings)
    ]
    best: dict[str, tuple[float, Item]] = {}
    for response, score in judging.consistent(window, responses, settings):
        if response.parent.id not in best or score > best[response.parent.id][0]:
            best[response.parent.id] = (score, response)
    for score, response in best.values():
        made = {"prompt": judging.conversation(response), "completion": assistant(response.value)}
        window.keep({**response.columns, **made, "score": round(score, 3)}, response)
    for response in responses:
        if not response.settled:
            window.reject(response, "consistency:not_the_best")


def metrics(tallies: Mapping[str, int], settings: Settings) -> dict[str, float]:
    """How much quality varies over the set (`quality` says what is what), and `set/...`: how much
    of it can be used."""
    return {**quality.score_metrics(tallies), **writing.set_metrics(tallies)}


def _is_usable(window: Window, item: Item, settings: Settings) -> bool:
    """Whether the row asks something, and a system prompt has room before it."""
    prompt = item.columns["prompt"]
    if not prompt or prompt[-1]["role"] != "user" or not prompt[-1]["content"].strip():
        window.reject(item, "row:no_query", "its prompt does not end with what a user asks")
    elif settings.own_system == "reject" and any(m["role"] == "system" for m in prompt):
        window.reject(item, "row:own_system", "set own_system to 'replace' to use it")
    else:
        return True
    return False


def _under(
    window: Window, item: Item, system_prompts: Sequence[SystemPrompt], settings: Settings
) -> list[Item]:
    """The row under `per_row` system prompts; unusable ones met on the way are rejected."""

    def lot(system_prompt: SystemPrompt) -> bytes:
        named = f"{settings.seed}:{item.source.id}:{system_prompt.number}"
        return blake2b(named.encode(), digest_size=8).digest()

    met, missing = [], settings.per_row
    for system_prompt in sorted(system_prompts, key=lot):
        if not missing:
            break
        met.append(system_prompt)
        missing -= system_prompt.problem is None
    children = window.expand("attach", item, [_columns(system_prompt) for system_prompt in met])
    attached = []
    for child, system_prompt in zip(children, met, strict=True):
        child.value = system_prompt
        child.records += system_prompt.records
        if system_prompt.problem is None:
            attached.append(child)
        else:
            child.text = system_prompt.text
            window.reject(child, f"write:{system_prompt.problem}", system_prompt.detail)
    return attached


def _columns(system_prompt: SystemPrompt) -> dict[str, Any]:
    wishes = [f"{axis}: {text}" for axis, text in system_prompt.combination.wishes]
    return {"system_prompt": system_prompt.number, "wishes": wishes}


def _responses(window: Window, items: Sequence[Item], settings: Settings) -> list[list[Item]]:
    return window.generate("respond", items, judging.conversation, n=settings.samples, parse=said)
