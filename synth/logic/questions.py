"""Logical questions with their answer keys, written by the model."""

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from verifiers.cells import read_cell
from verifiers.normal import normalised

FORMS = ("choice", "truth", "open")
REASONINGS = ("deduction", "induction", "analogy", "causal", "statistical")
TRUTHS = ("True", "False", "Unknown")
LETTERS = "ABCD"

_TEXT = {"type": "string", "minLength": 1, "maxLength": 2000}
_ANSWERS: dict[str, Any] = {
    "choice": {"type": "string", "enum": list(LETTERS)},
    "truth": {"type": "string", "enum": list(TRUTHS)},
    "open": {"type": "string", "minLength": 1, "maxLength": 60},
}
_OPTIONS = {
    "type": "array",
    "minItems": len(LETTERS),
    "maxItems": len(LETTERS),
    "items": {"type": "string", "minLength": 1, "maxLength": 300},
}
# Options are put in another order, so none may stand for another or name its own letter.
_SPEAKS_OF_OTHERS = re.compile(
    r"\b(?i:all|none|both|neither|any|either) of (?i:the above|these|them)\b|\b(?i:the above)\b"
    r"|\b[A-D] (?:and|or|nor) [A-D]\b|\b(?i:options?) [A-D]\b|^\(?[A-D][.):]\s|以上|上述"
)


def schema(form: str) -> dict[str, Any]:
    """What the writer of a question answers with; the working comes before the key."""
    options = {"options": _OPTIONS} if form == "choice" else {}
    fields = {"question": _TEXT, **options, "working": _TEXT, "answer": _ANSWERS[form]}
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def _checked_options(value: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError for options that are equal, or that depend on their order."""
    options = value["options"]
    if len(set(map(normalised, options))) < len(options):
        raise ValueError("two of the options are equal; give four different ones")
    if speaking := next(filter(_SPEAKS_OF_OTHERS.search, options), None):
        raise ValueError(
            f"the option {speaking[:80]!r} names a letter or other options; each option must stand "
            "for itself"
        )
    return value


def _checked_open(value: dict[str, Any]) -> dict[str, Any]:
    if not normalised(value["answer"]):
        raise ValueError("the answer is blank")
    return value


_CHECKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]] | None] = {
    "choice": _checked_options,
    "truth": None,
    "open": _checked_open,
}


def written(window: Window, settings: Any) -> list[Item]:
    """Questions as items with `form`, `reasoning`, `question`, `choices`, `answer`, `verifier` and
    `prompt`.

    Each seed gets `per_seed` different pairs of a form and a kind of reasoning, drawn by its id.
    Reasons beside those of asking: `question:duplicate`, and `question:another_truth` for one that
    does not have the truth value that was asked for.
    """
    pairs = [(form, kind) for form in settings.forms for kind in settings.reasonings]
    asked: list[Item] = []
    for item in window.items:
        rng = random.Random(f"{settings.seed}:{item.id}")
        drawn = rng.sample(pairs, min(settings.per_seed, len(pairs)))
        columns = [
            {"form": form, "reasoning": kind, "truth": _truth(kind, rng)} for form, kind in drawn
        ]
        asked += window.expand("kind", item, columns)
    found = []
    for form in settings.forms:
        prompt = window.prompts.get(f"write_{form}")
        items = [item for item in asked if item.columns["form"] == form]
        groups = window.generate(
            "question",
            items,
            lambda item, prompt=prompt: prompt.fill(
                {
                    "seed": item.columns["text"],
                    "number": 1 + REASONINGS.index(item.columns["reasoning"]),
                    "truth": item.columns["truth"],
                }
            ),
            schema=schema(form),
            parse=_CHECKS[form],
        )
        found += [child for group in groups for child in group]
    places = {item.id: place for place, item in enumerate(asked)}
    found.sort(key=lambda child: places[child.parent.id])
    return [item for item in _distinct(window, found) if _is_as_asked(window, item, settings)]


def _truth(reasoning: str, rng: random.Random) -> str:
    """The key that a statement shall have. Only of a deduction is it clear that nothing follows."""
    return rng.choice(TRUTHS if reasoning == "deduction" else TRUTHS[:2])


def _distinct(window: Window, items: Sequence[Item]) -> list[Item]:
    seen: set[tuple[str, str]] = set()
    kept = []
    for item in items:
        same = (item.source.id, normalised(item.value["question"]))
        if same in seen:
            window.reject(item, "question:duplicate")
        else:
            seen.add(same)
            kept.append(item)
    return kept


def _is_as_asked(window: Window, item: Item, settings: Any) -> bool:
    """Whether the key is what was asked for; if so, the item gets its columns."""
    value, columns = item.value, item.columns
    form = columns["form"]
    if form == "truth" and value["answer"] != columns["truth"]:
        detail = f"the key is {value['answer']}, and {columns['truth']} was asked for"
        window.reject(item, "question:another_truth", detail)
        return False
    question, answer, choices = value["question"].strip(), value["answer"].strip(), None
    if form == "choice":
        choices, answer = _shuffled(value["options"], answer, f"{settings.seed}:{item.id}")
    listed = "\n".join(f"{x}. {text}" for x, text in zip(LETTERS, choices or (), strict=False))
    prompt = window.prompts.get(f"answer_{form}").fill({"question": question, "options": listed})
    item.columns = {
        **{name: value for name, value in columns.items() if name not in ("truth", "text")},
        "question": question,
        "choices": choices,
        "answer": answer,
        "verifier": _verifier(form, answer),
        "prompt": prompt,
    }
    return True


def _shuffled(options: Sequence[str], key: str, seed: str) -> tuple[list[str], str]:
    """Writers like some letters better than others: the key is put anywhere."""
    order = random.Random(seed).sample(range(len(options)), len(options))
    return [options[n].strip() for n in order], LETTERS[order.index(LETTERS.index(key))]


def _verifier(form: str, answer: str) -> str:
    if form == "choice":
        return "choice"
    is_number = form == "open" and (
        read_cell(answer).number is not None or re.fullmatch(r"-?[0-9]+/[0-9]+", answer)
    )
    return "math" if is_number else "logic"
