"""The instruction of a prompt: its one user message, perhaps under a system message."""

import re
from typing import Any

from synth.flow.item import Item
from synth.rows.messages import said

# What holds for the old instruction alone.
_OUTDATED = ("answer", "solution", "completion", "entry_point", "move")
_LINES = re.compile(r"\A-{5,}$|^-{5,}\Z", re.MULTILINE)


def instruction(item: Item) -> str:
    return item.columns["prompt"][-1]["content"]


def read(answer: Any) -> str:
    """The instruction that an answer is, without the lines that fence it in the question.

    Raises ValueError if it is empty.
    """
    text = _LINES.sub("", said(answer)).strip()
    if not text:
        raise ValueError("there is nothing between the lines")
    return text


def renew(item: Item) -> None:
    """Make the item's text its instruction. Columns that held for the old one go."""
    columns = {name: v for name, v in item.columns.items() if name not in _OUTDATED}
    *before, last = item.columns["prompt"]
    item.columns = {**columns, "prompt": [*before, {**last, "content": item.text}]}
