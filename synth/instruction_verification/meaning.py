"""What the functions ask for, in words again, must not contradict the instruction (§3.2)."""

from collections.abc import Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.instruction_verification.instruction import Instruction
from synth.rows.messages import said

RELATION_SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 2000},
        "relation": {"enum": ["entailment", "neutral", "contradiction"]},
    },
    "required": ["reason", "relation"],
    "additionalProperties": False,
}


def translate_back(
    window: Window, found: Sequence[Instruction], settings: Any
) -> list[Instruction]:
    """The instructions that no function contradicts; the others are settled.

    A function whose translation can't be had or judged is rejected as `function:unconfirmed`.
    """
    limit = settings.limits.back_translations
    translated = {instruction.item.id: instruction.functions[:limit] for instruction in found}
    judged = _judged(window, found, [f for some in translated.values() for f in some], settings)
    left = []
    for instruction in found:
        contradictions = []
        for function in translated[instruction.item.id]:
            if function.id not in judged:
                instruction.functions.remove(function)
                window.reject(function, "function:unconfirmed")
                continue
            translation, relation = judged[function.id]
            instruction.translations.append(translation)
            if relation["relation"] == "contradiction":
                contradictions.append(f"{translation.text!r}: {relation['reason']}")
        if contradictions:
            window.tally("contradictions")
            instruction.settle(window, "nli:contradiction", contradictions[0])
        elif not instruction.functions:
            instruction.settle(window, "nli:nothing_confirmed")
        else:
            left.append(instruction)
    return left


def _judged(
    window: Window, found: Sequence[Instruction], functions: Sequence[Item], settings: Any
) -> dict[str, tuple[Item, dict[str, str]]]:
    """By the function's id its translation and how that relates to the instruction."""
    back, relate = window.prompts.get("back"), window.prompts.get("relate")
    text_of = {f.id: instruction.text for instruction in found for f in instruction.functions}
    groups = window.generate(
        "back", functions, lambda item: back.fill({"function": item.value.source}), parse=said
    )
    translations = [translation for group in groups for translation in group]
    for translation in translations:
        translation.text = translation.value
    relations = window.judge(
        "nli",
        translations,
        lambda item: relate.fill(
            {"instruction": text_of[item.parent.id], "translation": item.text}
        ),
        schema=RELATION_SCHEMA,
        engine=settings.judge,
    )
    return {item.parent.id: (item, value) for item, (value,) in relations}
