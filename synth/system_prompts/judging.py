"""Whether a system prompt fits a dialogue, and a response both."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.rows.messages import as_text, with_system
from synth.system_prompts import quality
from synth.system_prompts.writing import SystemPrompt
from synth.text.documents import overlap_words
from synth.text.languages import NAMES, is_in

FIT_SCHEMA = {
    "type": "object",
    "properties": {"conflict": {"type": "string"}, "fits": {"type": "boolean"}},
    "required": ["conflict", "fits"],
    "additionalProperties": False,
}
CONSISTENCY_SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "follows": {"type": "boolean"},
        "answers": {"type": "boolean"},
        "score": {"type": "integer", "minimum": 1, "maximum": 10},
    },
    "required": ["reason", "follows", "answers", "score"],
    "additionalProperties": False,
}
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


def above(item: Item) -> SystemPrompt:
    """The system prompt that a dialogue, or a response in it, is under."""
    return item.value if isinstance(item.value, SystemPrompt) else item.parent.value


def conversation(item: Item) -> list[dict[str, str]]:
    """The dialogue under the system prompt, as the model is asked and the row has it."""
    return with_system(above(item).text, item.columns["prompt"])


def _shown(item: Item) -> dict[str, str]:
    """What the judge is shown. A system prompt of the row's own has been replaced."""
    system, *dialogue = conversation(item)
    return {"system": system["content"], "dialogue": as_text(dialogue)}


def fitting(window: Window, items: Sequence[Item], settings: Any) -> list[Item]:
    """Those whose system prompt can be followed in this dialogue."""
    asked = window.prompts.get("fit")
    judged = window.judge(
        "fit",
        items,
        lambda item: asked.fill(_shown(item)),
        schema=FIT_SCHEMA,
        engine=settings.judge,
    )
    good = []
    for item, (verdict,) in judged:
        if verdict["fits"]:
            good.append(item)
        else:
            window.reject(item, "fit:contradiction", verdict["conflict"])
    return good


def is_sound(window: Window, response: Item, settings: Any) -> bool:
    """What code can tell: the response does not recite the system prompt, and is in the language
    that it asks for. Code in fences is in no language."""
    system_prompt = above(response)
    quoted = overlap_words(response.value, system_prompt.text)
    code = system_prompt.combination.language
    if quoted > settings.max_quoted:
        window.reject(response, "respond:recites", f"{quoted} words in a row are the prompt's")
    elif code is not None and is_in(_FENCED.sub(" ", response.value), code) is False:
        window.reject(response, "respond:wrong_language", f"it is not in {NAMES[code]}")
    else:
        return True
    return False


def consistent(
    window: Window, responses: Sequence[Item], settings: Any
) -> list[tuple[Item, float]]:
    """Responses that follow the system prompt and answer the query well, with their mean scores."""
    asked = window.prompts.get("consistency")
    judged = window.judge(
        "consistency",
        responses,
        lambda item: asked.fill(
            {
                **_shown(item),
                "reference": as_text(item.source.columns["completion"]),
                "response": item.value,
            }
        ),
        schema=CONSISTENCY_SCHEMA,
        n=settings.votes,
        engine=settings.judge,
    )
    good = []
    for response, votes in judged:
        for vote in votes:
            quality.tally(window, response.columns["system_prompt"], vote["score"])
        score = sum(vote["score"] for vote in votes) / len(votes)
        reason = votes[0]["reason"]
        if not _most(votes, "follows"):
            window.reject(response, "consistency:ignores_system_prompt", reason)
        elif not _most(votes, "answers"):
            window.reject(response, "consistency:no_answer", reason)
        elif score < settings.min_score:
            window.reject(response, "consistency:low_score", f"{score:.2f} of 10: {reason}")
        else:
            good.append((response, score))
    return good


def _most(votes: Sequence[Mapping[str, Any]], name: str) -> bool:
    return 2 * sum(vote[name] for vote in votes) > len(votes)
