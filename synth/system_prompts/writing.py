"""The set of system prompts, which is the same for all windows of a run.

Its requests are no row's: each window asks them all, and all but the first find the answers.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.rows.messages import said
from synth.system_prompts.axes import Combination
from synth.text.words import words_of

DUPLICATE = "near_duplicate"


@dataclass(frozen=True)
class SystemPrompt:
    """One of the set. problem: why it can't be used, None if it can. records: of its making."""

    number: int
    combination: Combination
    text: str = ""
    problem: str | None = None
    detail: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)


def write(window: Window, settings: Any) -> list[SystemPrompt]:
    """All system prompts of the set; those that are no good say why.

    Problems: `truncated`, `unparsed`, `failed:<reason>`, `near_duplicate` (of one before it).
    """
    asked = window.prompts.get("write")
    items = [
        Item(f"system_prompt_{number}", {"combination": combination})
        for number, combination in enumerate(settings.combinations)
    ]

    def question(item: Item) -> list[dict[str, str]]:
        combination = item.columns["combination"]
        wishes = "\n".join(f"- {axis}: {text}" for axis, text in combination.wishes)
        return asked.fill(
            {"wishes": wishes, "form": combination.form, "characters": settings.max_characters}
        )

    def text_of(answer: Any) -> str:
        text = said(answer)
        if len(text) > settings.max_characters:
            raise ValueError(
                f"it has {len(text)} characters, and {settings.max_characters} are the most"
            )
        return text

    judged = window.judge("write", items, question, parse=text_of, required=False)
    texts = tuple(values[0] if values else None for _, values in judged)
    originals = near_duplicates(texts, settings.max_similarity)
    found = []
    for number, (item, text) in enumerate(zip(items, texts, strict=True)):
        problem, detail = None, ""
        if text is None:
            problem = item.records[-1]["undecided"]
        elif number in originals:
            problem, detail = DUPLICATE, f"of system prompt {originals[number]}"
        window.tally(f"set/{problem or 'usable'}/{number}")
        combination = item.columns["combination"]
        found.append(SystemPrompt(number, combination, text or "", problem, detail, item.records))
    return found


@lru_cache(maxsize=4)
def near_duplicates(texts: tuple[str | None, ...], max_similarity: float) -> dict[int, int]:
    """By its place each text that is too similar to one before it, with the place of that one."""
    kept: dict[int, frozenset[tuple[str, ...]]] = {}
    found = {}
    for place, text in enumerate(texts):
        if text is None:
            continue
        runs = _runs(text)
        for other, before in kept.items():
            shared = len(runs & before)
            # Equal ones are duplicates at any threshold.
            if runs == before or shared > max_similarity * len(runs | before):
                found[place] = other
                break
        else:
            kept[place] = runs
    return found


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    """Its runs of three words; a shorter text is one run."""
    words = words_of(text)
    return frozenset(tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2)))


def set_metrics(tallies: Mapping[str, int]) -> dict[str, float]:
    """`set/usable`, and by its problem the number of the others, however many windows met them."""
    names = (name.rsplit("/", 1)[0] for name in tallies if name.startswith("set/"))
    return {name: float(number) for name, number in sorted(Counter(names).items())}
