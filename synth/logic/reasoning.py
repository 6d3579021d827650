"""Rounds in which flawed reasoning is found, and mended or removed."""

from collections.abc import Sequence
from typing import Any

from synth.flow.item import Answer, Item
from synth.flow.window import Window
from synth.logic.solutions import graded

SCHEMA = {
    "type": "object",
    "properties": {
        "step": {"type": "string"},
        "flaw": {"type": "string"},
        "sound": {"type": "boolean"},
    },
    "required": ["step", "flaw", "sound"],
    "additionalProperties": False,
}


def judged(
    window: Window, solutions: Sequence[Item], settings: Any
) -> tuple[list[Item], list[Item]]:
    """The sound ones, and the flawed ones, of solutions with the right answer.

    In each round a judge looks for a flaw in all that are left; one that has none is done with. A
    flawed one is written anew, its answer checked again, and judged in the next round. Neither is
    settled here. Reasons: `flaws:undecided`; of what was written anew `revise:wrong_answer` and
    `revise:<word>` of an answer that can't be read, beside those of asking.
    """
    sound: list[Item] = []
    flawed: list[Item] = []
    left = list(solutions)
    for number in range(settings.rounds):
        objections = _objections(window, left, settings)
        sound += [item for item, objection in objections if objection is None]
        found = {item.id: objection for item, objection in objections if objection is not None}
        with_flaw = [item for item, objection in objections if objection is not None]
        window.tally(f"judged/{number + 1}", len(objections))
        window.tally(f"flawed/{number + 1}", len(with_flaw))
        flawed += with_flaw
        if number + 1 < settings.rounds:
            left = _revised(window, with_flaw, found)
    return sound, flawed


def _objections(
    window: Window, items: Sequence[Item], settings: Any
) -> list[tuple[Item, dict[str, Any] | None]]:
    """Each with the first flaw that an answer of the judge names, or None if none names any."""
    asked = window.prompts.get("flaws")
    opinions = window.judge(
        "flaws",
        items,
        lambda item: asked.fill({"question": _question(item), "solution": item.text}),
        schema=SCHEMA,
        parse=_named,
        n=settings.judge_samples,
        engine=settings.judge,
    )
    return [
        (item, next((opinion for opinion in said if not opinion["sound"]), None))
        for item, said in opinions
    ]


def _named(value: Any) -> Any:
    if not value["sound"] and not value["flaw"].strip():
        raise ValueError("sound is false, and flaw names nothing")
    return value


def _revised(window: Window, items: Sequence[Item], flaws: dict[str, Any]) -> list[Item]:
    asked = window.prompts.get("revise")
    groups = window.generate(
        "revise",
        items,
        lambda item: asked.fill(
            {
                "question": _question(item),
                "solution": item.text,
                "step": flaws[item.id]["step"],
                "flaw": flaws[item.id]["flaw"],
            }
        ),
        parse=_some_text,
    )
    kept = []
    for item, is_right in graded(window, "revise", [one for group in groups for one in group]):
        if is_right:
            kept.append(item)
        else:
            window.reject(item, "revise:wrong_answer")
    return kept


def _some_text(answer: Answer) -> str:
    if not answer.text.strip():
        raise ValueError("it is empty")
    return answer.text


def _question(item: Item) -> str:
    return item.columns["prompt"][-1]["content"]
