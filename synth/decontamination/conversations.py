"""What a model is trained on, in a row of data."""

from synth.synthesis import Row, SynthesisError

_STARTS = ("prompt", "messages", "text")
_ENDS = ("completion", "chosen", "rejected")


def conversations_of(row: Row) -> list[list[str]]:
    """The texts of the row's messages: one conversation, or two of a preference row.

    A column is a list of messages or a string. Other columns than `prompt`, `messages`, `text`,
    `completion`, `chosen` and `rejected` are not trained on. Raises SynthesisError if there is
    none of these, or one of another type.
    """
    start = [text for name in _STARTS for text in _texts(row, name)]
    ends = [texts for name in _ENDS if (texts := _texts(row, name))]
    if not start and not ends:
        raise SynthesisError(
            f"{_shown(row)} has none of the columns {', '.join(_STARTS + _ENDS)}, or nothing in "
            "them: there is no text to look for overlaps in"
        )
    return [start + end for end in ends] or [start]


def _texts(row: Row, name: str) -> list[str]:
    value = row.get(name)
    messages = [{"content": value}] if isinstance(value, str) else value or []
    try:
        contents = [message["content"] for message in messages]
    except (TypeError, KeyError, IndexError):
        contents = [value]
    for content in contents:
        if not isinstance(content, str):
            raise SynthesisError(
                f"{_shown(row)}: '{name}' is neither a text nor a list of messages with a text as "
                "`content`"
            )
    return contents


def _shown(row: Row) -> str:
    return f"row '{row['id']}'" if "id" in row else "a row"
