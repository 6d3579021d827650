"""TRL hands a reward function columns; these are the rows in them."""

from collections.abc import Mapping, Sequence
from typing import Any

# What TRL 1.16 passes beside the data set's own columns.
NOT_DATA = frozenset({"completion_ids", "trainer_state", "log_extra", "log_metric", "environments"})


def text_of(completion: str | Sequence[Mapping[str, Any]]) -> str:
    """The assistant's words: TRL's completions are strings, or conversations without the prompt."""
    if isinstance(completion, str):
        return completion
    return "".join(_words(m.get("content")) for m in completion if m["role"] == "assistant")


def _words(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    """A message that calls tools may have none, one with images has parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text") or "" for part in content)


def row_of(columns: Mapping[str, Any], row: int, num_rows: int) -> dict[str, Any]:
    """One row of `columns`; values that are no list with one entry a row stay as they are."""
    return {
        key: value[row] if _is_column(value, num_rows) else value for key, value in columns.items()
    }


def batch_of_one(columns: Mapping[str, Any], row: int, num_rows: int) -> dict[str, Any]:
    """The same columns with only this row left in them."""
    return {
        key: value[row : row + 1] if _is_column(value, num_rows) else value
        for key, value in columns.items()
    }


def _is_column(value: Any, num_rows: int) -> bool:
    return isinstance(value, list) and len(value) == num_rows


def start_of(prompt: str | Sequence[Mapping[str, Any]] | None) -> str:
    """The first characters of a prompt's last message, for an error message."""
    if prompt is None:
        return "(no prompt given)"
    text = prompt if isinstance(prompt, str) else str(prompt[-1]["content"]) if prompt else ""
    return repr(text[:80])
