"""Answers that must follow a JSON schema."""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from synth.flow.item import Answer
from synth.flow.templates import Conversation
from verifiers.code.programs import answer_of
from verifiers.strict_json import StrictJSONError, loads

_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\n(.*)\n[ \t]*```\s*", re.DOTALL)


def asked_for(conversation: Conversation, schema: Mapping[str, Any]) -> Conversation:
    """The conversation with the schema stated in its last message."""
    *before, last = conversation
    stated = json.dumps(schema, ensure_ascii=False, sort_keys=True)
    ask = f"{last['content']}\n\nAnswer with JSON alone, by this JSON schema:\n{stated}"
    return [*before, {"role": last["role"], "content": ask}]


def asked_again(conversation: Conversation, answer: str, problem: str) -> Conversation:
    """The conversation that goes on from an answer that could not be read."""
    return [
        *conversation,
        {"role": "assistant", "content": answer},
        {
            "role": "user",
            "content": f"This answer can't be read: {problem}\nGive the whole answer once more, in "
            "the form asked for, with nothing before or after it.",
        },
    ]


def reader(schema: Mapping[str, Any]) -> Callable[[Answer], Any]:
    """Reads the JSON of an answer, alone or in one fence, after its thoughts if it has any.

    Raises ValueError for what is no JSON, or breaks the schema.
    """
    validator = _validator(json.dumps(schema, sort_keys=True))

    def read(answer: Answer) -> Any:
        text = answer_of(answer.text)
        fenced = _FENCED.fullmatch(text)
        try:
            value = loads(fenced[1] if fenced else text)
        except StrictJSONError as error:
            raise ValueError(f"it is not JSON: {error}") from None
        error = next(validator.iter_errors(value), None)
        if error is not None:
            raise ValueError(f"it breaks the schema at {error.json_path}: {error.message:.300}")
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("it escapes half of a character, which no file can hold") from None
        return value

    return read


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    parsed = json.loads(schema)
    Draft202012Validator.check_schema(parsed)
    return Draft202012Validator(parsed)
