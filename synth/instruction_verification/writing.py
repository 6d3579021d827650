"""Instructions, and the functions and cases that a model writes for them."""

import json
from collections.abc import Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.instruction_verification.inside import truth
from synth.instruction_verification.instruction import Case, Function, Instruction
from verifiers import code
from verifiers.code.programs import defines

_TEXT = {"type": "string", "maxLength": 20_000}
SCHEMA = {
    "type": "object",
    "properties": {
        # Before the function, so that they are not made to fit it.
        "cases": {
            "type": "array",
            "minItems": 1,
            "maxItems": 20,
            "items": {
                "type": "object",
                "properties": {
                    "response": _TEXT,
                    "why": {"type": "string", "maxLength": 2000},
                    # Models write "True" as well; of AutoIF's published cases one in seven.
                    "follows": {"type": ["boolean", "string"]},
                },
                "required": ["response", "why", "follows"],
                "additionalProperties": False,
            },
        },
        "function": {**_TEXT, "minLength": 1},
    },
    "required": ["cases", "function"],
    "additionalProperties": False,
}


def augmented_schema(number: int) -> dict[str, Any]:
    line = {"type": "string", "minLength": 1, "maxLength": 1000}
    return {
        "type": "object",
        "properties": {
            "instructions": {"type": "array", "minItems": 1, "maxItems": number, "items": line}
        },
        "required": ["instructions"],
        "additionalProperties": False,
    }


def instructions(window: Window, settings: Any) -> list[Instruction]:
    """The rows' instructions, each followed by those that the model makes of it (self-instruct)."""
    found = []
    for item in window.items:
        if item.columns["text"].strip():
            found.append(Instruction(item, item.columns["text"].strip()))
        else:
            window.reject(item, "instruction:empty")
    return _augmented(window, found, settings) if settings.rewrites else found


def _augmented(
    window: Window, originals: Sequence[Instruction], settings: Any
) -> list[Instruction]:
    asked = window.prompts.get("augment")
    answers = window.generate(
        "augment",
        [original.item for original in originals],
        lambda item: asked.fill(
            {"instruction": item.columns["text"].strip(), "number": settings.rewrites}
        ),
        schema=augmented_schema(settings.rewrites),
        parse=storable,
    )
    found = []
    for original, group in zip(originals, answers, strict=True):
        # The row itself is done with if any of its instructions leads to something.
        (item,) = window.expand("original", original.item, [{}])
        found.append(Instruction(item, original.text))
        known = {_key(original.text)}
        for answer in group:
            new = [{"text": text} for text in answer.value["instructions"]]
            for item in window.expand("new", answer, new):
                item.text = ""  # the whole answer's, with all its instructions
                text = item.columns["text"].strip()
                if not text:
                    window.reject(item, "augment:empty")
                elif _key(text) in known:
                    window.reject(item, "augment:duplicate")
                else:
                    known.add(_key(text))
                    found.append(Instruction(item, text))
    return found


def write(window: Window, found: Sequence[Instruction], settings: Any) -> None:
    """Ask for functions and cases; those that can't be used, or come twice, are rejected."""
    asked = window.prompts.get("write")
    text_of = {instruction.item.id: instruction.text for instruction in found}
    answers = window.generate(
        "write",
        [instruction.item for instruction in found],
        lambda item: asked.fill(
            {"instruction": text_of[item.id], "number": settings.cases_per_answer}
        ),
        n=settings.verifier_samples,
        schema=SCHEMA,
        parse=storable,
    )
    for instruction, group in zip(found, answers, strict=True):
        functions: dict[str, Function] = {}
        cases: dict[tuple[str, bool], Case] = {}
        for number, answer in enumerate(group):
            (item,) = window.expand("function", answer, [{}])
            _take_function(window, instruction, functions, item, number)
            for item, case in zip(
                window.expand("case", answer, [{} for _ in answer.value["cases"]]),
                answer.value["cases"],
                strict=True,
            ):
                _take_case(window, instruction, cases, item, case, number)


def _take_function(
    window: Window,
    instruction: Instruction,
    known: dict[str, Function],
    item: Item,
    number: int,
) -> None:
    window.tally("functions")
    item.text = source = source_of(item.value["function"])
    if not defines(source, "evaluate"):
        window.reject(item, "function:undefined", "it defines no `evaluate`")
    elif source in known:
        known[source].origins.add(number)
        window.reject(item, "function:duplicate")
    else:
        item.value = known[source] = Function(source, {number})
        instruction.functions.append(item)


def _take_case(
    window: Window,
    instruction: Instruction,
    known: dict[tuple[str, bool], Case],
    item: Item,
    case: dict[str, Any],
    number: int,
) -> None:
    window.tally("cases")
    item.text, follows = case["response"], truth(case["follows"])
    if follows is None:
        window.reject(item, "case:unreadable", f"follows is {case['follows']!r:.80}")
    elif (item.text, follows) in known:
        known[item.text, follows].origins.add(number)
        window.reject(item, "case:duplicate")
    else:
        item.value = known[item.text, follows] = Case(item.text, follows, {number})
        instruction.cases.append(item)


def source_of(text: str) -> str:
    """The function as written, without a fence around it and spaces that mean nothing."""
    if "```" in text:
        text = code.extract(text, entry_point="evaluate") or text
    return "\n".join(line.rstrip() for line in text.strip("\n").rstrip().split("\n"))


def storable(value: Any) -> Any:
    """Raises ValueError for half of a surrogate pair, which JSON can hold and nothing else can."""
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _key(text: str) -> str:
    return " ".join(text.casefold().split())
