"""Dialogues with a character, turn by turn, and what code can tell of its replies."""

import re
from collections.abc import Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.role_play.questions import names_source
from synth.rows.messages import Message, assistant, said, user
from synth.text.documents import overlap_words
from synth.text.words import words_of

# The model speaks for itself. Characters that are machines may say so.
_MACHINE = re.compile(
    r"\b(?:as|I am|I'm|I\u2019m) (?:just |only |merely )?an? (?:AI|artificial intelligence"
    r"|(?:large )?language model|chatbot|virtual assistant)\b"
    r"|(?:我是|作为)(?:一个|一名)?(?:AI|人工智能|大?语言模型|聊天机器人)",
    re.IGNORECASE,
)
_IS_MACHINE = re.compile(
    r"\b(?:AI|artificial|robot|android|computer|machine)\b|人工智能|机器人|电脑|计算机",
    re.IGNORECASE,
)


def spoken(window: Window, questions: Sequence[Item], settings: Any) -> list[Item]:
    """Dialogues of `turns` questions and replies, in `dialogue`, which start with the questions."""
    open_ones = list(questions)
    for turn in range(settings.turns):
        if turn:
            open_ones = _followed_up(window, open_ones)
        open_ones = _replied(window, open_ones, settings)
    return open_ones


def transcript(item: Item) -> str:
    """The dialogue as a script with the character's name in it."""
    names = {"user": "User", "assistant": item.columns["name"]}
    return "\n\n".join(f"{names[m['role']]}: {m['content']}" for m in item.columns["dialogue"])


def reply_of(item: Item) -> str:
    """What the answer says, without the name that a script puts before it."""
    name = re.escape(item.columns["name"])
    return re.sub(rf"\A\**{name}\**[ \t]*[:\uff1a]\**\s*", "", item.value).strip()


def _replied(window: Window, items: Sequence[Item], settings: Any) -> list[Item]:
    """The dialogues with the character's next reply, an answer from the profile or a refusal."""
    prompts = {name: window.prompts.get(f"answer_{name}") for name in ("known", "unknown")}
    answered = window.generate(
        "answer",
        items,
        lambda item: prompts[item.columns["knowledge"]].fill(
            item.columns, transcript=transcript(item)
        ),
        parse=said,
    )
    kept = []
    for child in (child for group in answered for child in group):
        reply = reply_of(child)
        if is_in_character(window, child, reply, "answer", settings):
            kept.append(_with(child, assistant(reply)))
    return kept


def is_in_character(window: Window, item: Item, reply: str, step: str, settings: Any) -> bool:
    """Whether the reply passes what code can tell; rejected as `<step>:<what it does>`."""
    profile = item.columns["profile"]
    copied = overlap_words(reply, profile)
    if not words_of(reply):
        window.reject(item, f"{step}:empty")
    elif _MACHINE.search(reply) and not _IS_MACHINE.search(profile):
        window.reject(item, f"{step}:speaks_as_model", _MACHINE.search(reply)[0])
    elif names_source(reply):
        window.reject(item, f"{step}:names_profile")
    elif copied > settings.max_copied:
        window.reject(item, f"{step}:recites", f"{copied} words in a row are the profile's")
    else:
        return True
    return False


def _followed_up(window: Window, items: Sequence[Item]) -> list[Item]:
    """The dialogues with what the user says next."""
    prompts = {name: window.prompts.get(f"follow_{name}") for name in ("known", "unknown")}
    asked = window.generate(
        "follow",
        items,
        lambda item: prompts[item.columns["knowledge"]].fill(
            item.columns, transcript=transcript(item)
        ),
        parse=said,
    )
    kept = []
    for child in (child for group in asked for child in group):
        text = re.sub(r"\A\**(?:User|用户)\**[ \t]*[:\uff1a]\**\s*", "", child.value).strip()
        before = [words_of(m["content"]) for m in child.columns["dialogue"] if m["role"] == "user"]
        if not words_of(text):
            window.reject(child, "follow:empty")
        elif words_of(text) in before:
            window.reject(child, "follow:repeats")
        elif names_source(text):
            window.reject(child, "follow:names_profile")
        else:
            kept.append(_with(child, user(text)))
    return kept


def _with(item: Item, message: list[Message]) -> Item:
    item.columns = {**item.columns, "dialogue": [*item.columns["dialogue"], *message]}
    return item
