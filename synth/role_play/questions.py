"""Questions to a character: what its profile tells, and what it can't know."""

import re
from collections.abc import Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.rows.messages import user
from synth.text.documents import overlap_words
from synth.text.words import words_of

SCREEN_SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "answer": {"enum": ["stated", "unstated", "beyond"]},
    },
    "required": ["reason", "answer"],
    "additionalProperties": False,
}
_LEAST_EVIDENCE = 3
# Words that give away that there is a text about the character.
_SOURCE = re.compile(
    r"\b(?:the|this|your|my|his|her|their) (?:character )?profile\b|\bcharacter sheet\b"
    r"|\brole-?play|\b(?:the|this) (?:text|passage)\b"
    r"|人物资料|人物设定|角色扮演|(?:根据|按照)(?:资料|设定|文本|上文)",
    re.IGNORECASE,
)


def names_source(text: str) -> bool:
    """Whether it speaks of the profile that it was written from, which nobody in it can see."""
    return _SOURCE.search(text) is not None


def within_knowledge(window: Window, characters: Sequence[Item], settings: Any) -> list[Item]:
    """Questions that the profile answers, each with the words of the profile that do."""
    found = []
    for item in _asked(window, characters, settings.questions, "known", "evidence"):
        quote, profile = item.columns["ground"], item.columns["profile"]
        number = len(words_of(quote))
        if number < _LEAST_EVIDENCE or overlap_words(quote, profile) < number:
            window.reject(item, "ask_known:no_evidence", f"not in the profile: {quote[:200]}")
        else:
            found.append(item)
    return found


def beyond_knowledge(window: Window, characters: Sequence[Item], settings: Any) -> list[Item]:
    """Questions that the character can't answer, each with the reason."""
    return _asked(window, characters, settings.contrastive, "unknown", "why")


def _asked(
    window: Window, characters: Sequence[Item], number: int, knowledge: str, ground: str
) -> list[Item]:
    """Up to `number` questions for each character, as items whose dialogue starts with them.

    The model writes them all in one answer, so that they differ.
    """
    if not number:
        return []
    step = f"ask_{knowledge}"
    prompt = window.prompts.get(step)
    answered = window.generate(
        step,
        characters,
        lambda item: prompt.fill({**item.columns, "number": number}),
        schema=_schema(number, ground),
    )
    return [
        question
        for group in answered
        for answer in group
        for question in _distinct(window, answer, step, knowledge, ground)
    ]


def _schema(number: int, ground: str) -> dict[str, Any]:
    text = {"type": "string", "pattern": r"\S"}
    question = {
        "type": "object",
        "properties": {ground: text, "question": text},
        "required": [ground, "question"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "questions": {
                "type": "array",
                "items": question,
                "minItems": 1,
                "maxItems": number,
            }
        },
        "required": ["questions"],
        "additionalProperties": False,
    }


def _distinct(window: Window, answer: Item, step: str, knowledge: str, ground: str) -> list[Item]:
    """The answer's questions, but for those asked before and those that speak of the profile."""
    written = answer.value["questions"]
    columns = [
        {
            "knowledge": knowledge,
            "ground": one[ground].strip(),
            "dialogue": user(one["question"].strip()),
        }
        for one in written
    ]
    kept, seen = [], set()
    for item in window.expand("question", answer, columns):
        item.text = item.columns["dialogue"][0]["content"]
        words = tuple(words_of(item.text))
        if words in seen:
            window.reject(item, f"{step}:duplicate")
        elif names_source(item.text):
            window.reject(item, f"{step}:names_profile")
        else:
            seen.add(words)
            kept.append(item)
    return kept


def screened(window: Window, questions: Sequence[Item], settings: Any) -> list[Item]:
    """Questions that are what they were asked to be: `stated` in the profile, or `beyond` what the
    character can know. `unstated`, what it would know but the profile doesn't say, is neither: an
    answer would be made up, and a refusal out of character."""
    prompt = window.prompts.get("screen")
    judged = window.judge(
        "screen",
        questions,
        lambda item: prompt.fill({**item.columns, "question": item.text}),
        schema=SCREEN_SCHEMA,
        engine=settings.judge,
    )
    fitting = []
    for item, (verdict,) in judged:
        wanted = {"known": "stated", "unknown": "beyond"}[item.columns["knowledge"]]
        if verdict["answer"] == wanted:
            fitting.append(item)
        else:
            knowledge = item.columns["knowledge"]
            window.reject(item, f"screen:{knowledge}_is_{verdict['answer']}", verdict["reason"])
    return fitting
