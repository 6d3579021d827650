"""Which queries are worth a long thought."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.long_cot import validation
from synth.rows.messages import as_text

_ANSWER_CHARS = 2000
KINDS = ("one_answer", "several_questions", "open_text", "unclear")


def filtered(window: Window, items: Sequence[Item], settings: Any) -> list[Item]:
    """Those with one answer that can be checked and that takes thought, each with its `domain`.

    Others are rejected as `query:no_question`, `query:<kind>`, `query:like_validation`,
    `query:means_validation` and `direct:solved`.
    """
    asking = [item for item in items if _asks(window, item)]
    apart = validation.apart(window, asking, settings)
    checkable = _checkable(window, apart, settings)
    return _needs_thought(window, checkable, settings) if settings.direct_tokens else checkable


def text_of(item: Item) -> str:
    """What is asked, as the judge reads it."""
    prompt = item.columns["prompt"]
    return prompt[0]["content"] if len(prompt) == 1 else as_text(prompt)


def _asks(window: Window, item: Item) -> bool:
    prompt = item.columns["prompt"]
    if prompt and prompt[-1]["role"] == "user" and prompt[-1]["content"].strip():
        return True
    window.reject(item, "query:no_question", "it does not end with a user's message")
    return False


def _checkable(window: Window, items: Sequence[Item], settings: Any) -> list[Item]:
    schema = {
        "type": "object",
        "properties": {
            "why": {"type": "string"},
            "kind": {"enum": list(KINDS)},
            "domain": {"enum": list(settings.domains)},
        },
        "required": ["why", "kind", "domain"],
        "additionalProperties": False,
    }
    prompt = window.prompts.get("query")
    judged = window.judge(
        "query",
        items,
        lambda item: prompt.fill(
            {
                "query": text_of(item),
                "answer": str(item.columns["answer"])[:_ANSWER_CHARS],
                "domains": ", ".join(settings.domains),
            }
        ),
        schema=schema,
        engine=settings.judge,
    )
    kept = []
    for item, (value,) in judged:
        if value["kind"] != "one_answer":
            window.reject(item, f"query:{value['kind']}", value["why"])
            continue
        domain = str(item.columns.get("domain") or value["domain"])
        item.columns = {**item.columns, "domain": domain}
        kept.append(item)
    return kept


def _needs_thought(window: Window, items: Sequence[Item], settings: Any) -> list[Item]:
    """An answer cut off is none: who needs more tokens than that thinks on paper."""
    prompt = window.prompts.get("direct")
    answered = window.judge(
        "direct",
        items,
        lambda item: prompt.fill({"query": text_of(item)}),
        sampling=dataclasses.replace(settings.sampling, max_tokens=settings.direct_tokens),
        parse=lambda answer: answer.text,
        required=False,
    )
    said = {item.id: values[0] for item, values in answered if values}
    kept = {item.id for item, values in answered if not values}
    attempts = [item for item, _ in answered if item.id in said]
    for item, verdict in window.verify(
        "direct", attempts, settings.verifier, completion=lambda item: said[item.id]
    ):
        if verdict.correct:
            window.reject(item, "direct:solved", said[item.id][:200])
        else:
            kept.add(item.id)
    return [item for item, _ in answered if item.id in kept]
