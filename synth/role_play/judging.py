"""What the judge says of dialogues, and answers that pretend to know, for preferences."""

from collections.abc import Mapping, Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.role_play.dialogues import is_in_character, reply_of, transcript
from synth.rows.messages import said

KNOWN_SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "in_character": {"type": "boolean"},
        "supported": {"type": "boolean"},
        "knowledge": {"type": "integer", "minimum": 1, "maximum": 10},
    },
    "required": ["reason", "in_character", "supported", "knowledge"],
    "additionalProperties": False,
}
UNKNOWN_SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "in_character": {"type": "boolean"},
        "refuses": {"type": "boolean"},
    },
    "required": ["reason", "in_character", "refuses"],
    "additionalProperties": False,
}


def checked(window: Window, dialogues: Sequence[Item], settings: Any) -> list[Item]:
    """Those in character throughout whose replies the profile supports, or that refuse; in the
    order of `dialogues`."""
    sound = {
        item.id for check in (_supported, _refusing) for item in check(window, dialogues, settings)
    }
    return [item for item in dialogues if item.id in sound]


def _supported(window: Window, dialogues: Sequence[Item], settings: Any) -> list[Item]:
    known = [item for item in dialogues if item.columns["knowledge"] == "known"]
    prompt = window.prompts.get("check_known")
    judged = window.judge(
        "check_known",
        known,
        lambda item: prompt.fill(item.columns, transcript=transcript(item)),
        schema=KNOWN_SCHEMA,
        n=settings.votes,
        engine=settings.judge,
    )
    kept = []
    for item, votes in judged:
        scores = [vote["knowledge"] for vote in votes]
        window.tally("knowledge", sum(scores))
        window.tally("scores", len(scores))
        mean, reason = sum(scores) / len(scores), votes[0]["reason"]
        if not _stays_in_character(window, item, votes, "check_known"):
            continue
        if not _most(votes, "supported"):
            window.reject(item, "check_known:unsupported", reason)
        elif mean < settings.min_knowledge:
            window.reject(item, "check_known:low_knowledge", f"{mean:.2f} of 10: {reason}")
        else:
            kept.append(item)
    return kept


def _refusing(window: Window, dialogues: Sequence[Item], settings: Any) -> list[Item]:
    unknown = [item for item in dialogues if item.columns["knowledge"] == "unknown"]
    prompt = window.prompts.get("check_unknown")
    judged = window.judge(
        "check_unknown",
        unknown,
        lambda item: prompt.fill(item.columns, transcript=transcript(item)),
        schema=UNKNOWN_SCHEMA,
        n=settings.votes,
        engine=settings.judge,
    )
    kept = []
    for item, votes in judged:
        refuses = _most(votes, "refuses")
        window.tally("unknown")
        window.tally("refused", int(refuses))
        if not _stays_in_character(window, item, votes, "check_unknown"):
            continue
        if refuses:
            kept.append(item)
        else:
            window.reject(item, "check_unknown:pretends_to_know", votes[0]["reason"])
    return kept


def _stays_in_character(
    window: Window, item: Item, votes: Sequence[Mapping[str, Any]], step: str
) -> bool:
    stays = _most(votes, "in_character")
    window.tally("dialogues")
    window.tally("in_character", int(stays))
    if not stays:
        window.reject(item, f"{step}:out_of_character", votes[0]["reason"])
    return stays


def pretences(window: Window, refusals: Sequence[Item], settings: Any) -> list[tuple[Item, Item]]:
    """Each dialogue that ends in a refusal, with another answer to its last question, as the
    character would give it if it knew; that it does not refuse is checked by the same judge.

    The answer is no worse in other ways that code can tell, so that a pair differs in this alone.
    """
    prompt, check = window.prompts.get("pretend"), window.prompts.get("check_unknown")
    asked = [_unanswered(window, item) for item in refusals]
    refusal_of = {item.id: refusal for item, refusal in zip(asked, refusals, strict=True)}
    answered = window.generate(
        "pretend",
        asked,
        lambda item: prompt.fill(item.columns, transcript=transcript(item)),
        parse=said,
    )
    sound = []
    for child in (child for group in answered for child in group):
        child.value = reply_of(child)
        if is_in_character(window, child, child.value, "pretend", settings):
            sound.append(child)
    judged = window.judge(
        "check_pretence",
        sound,
        lambda item: check.fill(
            item.columns, transcript=f"{transcript(item)}\n\n{item.columns['name']}: {item.value}"
        ),
        schema=UNKNOWN_SCHEMA,
        n=settings.votes,
        engine=settings.judge,
    )
    pairs = []
    for child, votes in judged:
        if 2 * sum(not vote["refuses"] for vote in votes) > len(votes):
            pairs.append((refusal_of[child.parent.id], child))
        else:
            window.reject(child, "check_pretence:refuses", votes[0]["reason"])
    return pairs


def _unanswered(window: Window, item: Item) -> Item:
    """The dialogue without its last reply."""
    (child,) = window.expand("unanswered", item, [{"dialogue": item.columns["dialogue"][:-1]}])
    return child


def _most(votes: Sequence[Mapping[str, Any]], name: str) -> bool:
    return 2 * sum(vote[name] for vote in votes) > len(votes)
