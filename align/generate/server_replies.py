"""What a server's reply means: an answer, or a setback and whether asking again could help."""

import json
import math
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from align.generate.engine import Completion, Failure

LONGEST_PAUSE_S = 60.0
"""However long a server asks to be left alone."""

MAX_DETAIL_CHARS = 500

_RETRIED = frozenset({408, 409, 425, 429})
_OVERLOADED = frozenset({429, 503, 529})
_MAY_BE_TOO_LONG = frozenset({400, 413, 422})
# vLLM, SGLang, TGI, llama.cpp, OpenAI and Anthropic each say it in their own way.
_TOO_LONG = re.compile(
    r"context[ _-]?(length|size|window)|too[ _]long|too many (input )?tokens|"
    r"longer than the model|exceeds? the max\w* number of tokens|max_new_tokens` must be",
    re.IGNORECASE,
)
# TGI names the stop in its own words; the others follow OpenAI.
_ENDS = {"stop": "stop", "eos_token": "stop", "stop_sequence": "stop", "length": "length"}
_DATE_AFTER_NAME = re.compile(r"[-@:]\d{4}[\d-]*")


@dataclass(frozen=True)
class Setback:
    """A try that brought no answer.

    most_retries: how many more tries could help; None: as many as the engine makes.
    overloaded: whether the server has more to do than it can.
    after_s: it wants to be left alone for so long.
    """

    failure: Failure
    most_retries: int | None = None
    overloaded: bool = False
    after_s: float = 0.0


@dataclass(frozen=True)
class Asked:
    """What decides how the reply to a chat request is read."""

    model: str
    served_as: str | None
    top_logprobs: int
    greedy: bool


def refused(status: int, retry_after: str, content: bytes) -> Setback:
    """What a reply with another status than 200 means; `retry_after` is that header or ""."""
    message = _message(content)
    if status in _MAY_BE_TOO_LONG and _TOO_LONG.search(message):
        return Setback(Failure("too_long", message), most_retries=0)
    failure = Failure(f"http_{status}", message)
    if status not in _RETRIED and status < 500:
        return Setback(failure, most_retries=0)
    return Setback(failure, overloaded=status in _OVERLOADED, after_s=_retry_after_s(retry_after))


def read_answer(content: bytes, asked: Asked) -> Completion | Setback:
    """The completion in the body of a chat reply."""
    reply = _parsed(content)
    if isinstance(reply, Setback):
        return reply
    try:
        choice = reply["choices"][0]
        message, end = choice["message"], choice["finish_reason"]
        text = message.get("content") or ""
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
        num_tokens = (reply.get("usage") or {}).get("completion_tokens") or 0
        first_logps = _first_logps(choice) if asked.top_logprobs else {}
        # A text in pieces, or a number that is none, is as unreadable as one that is missing.
        is_readable = isinstance(text + thought, str) and isinstance(num_tokens, int)
    except (LookupError, TypeError, ValueError, AttributeError):
        is_readable = False
    if not is_readable:
        return Setback(Failure("garbage", f"no chat answer: {_message(content)}"))
    served = reply.get("model")
    if served is not None and not _is_asked(served, asked):
        why = f"{served!r} answered for {asked.model!r}; if it is the same, set served_as to that"
        return Setback(Failure("other_model", why), most_retries=0)
    if end == "content_filter":
        return Setback(Failure("content_filter", _short(text)), most_retries=0)
    if end not in _ENDS:
        return Setback(Failure("unfinished", f"finish_reason is {end!r}, not 'stop' or 'length'"))
    if not text.strip() and _ENDS[end] == "stop":
        why = "the model ended its turn without a word"
        return Setback(Failure("empty", why), most_retries=0 if asked.greedy else 1)
    if asked.top_logprobs and not first_logps:
        why = "the server sent no log-probabilities: it may have to be started with them enabled"
        return Setback(Failure("no_logprobs", why), most_retries=0)
    if thought:
        text = _thinking(thought, text)
    return Completion(text, (), (), _ENDS[end], num_tokens, first_logps)


def read_embeddings(content: bytes) -> list[list[float]] | Setback:
    """The vectors in the body of a reply, in the order of the texts."""
    reply = _parsed(content)
    if isinstance(reply, Setback):
        return reply
    try:
        found = {row["index"]: row["embedding"] for row in reply["data"]}
        return [found[place] for place in range(len(found))]
    except (LookupError, TypeError):
        return Setback(Failure("garbage", f"no embeddings: {_message(content)}"))


def read_models(content: bytes) -> list[dict[str, Any]] | Setback:
    """What the server lists; [] where that is not the whole list, or none that can be read."""
    reply = _parsed(content)
    if isinstance(reply, Setback):
        return reply
    listed = reply.get("data")
    if reply.get("has_more") or not isinstance(listed, list):
        return []
    return [model for model in listed if isinstance(model, dict) and "id" in model]


def _parsed(content: bytes) -> dict[str, Any] | Setback:
    try:
        reply = orjson.loads(content)
    except ValueError:
        try:
            # Some servers cut a surrogate pair in half, or send NaN; orjson takes neither.
            reply = json.loads(content)
        except (ValueError, RecursionError):
            reason = "half_json" if content.lstrip().startswith(b"{") else "garbage"
            return Setback(Failure(reason, _short(content.decode("utf-8", "replace"))))
    if not isinstance(reply, dict):
        return Setback(Failure("garbage", f"not an object: {_message(content)}"))
    return reply


def _first_logps(choice: dict[str, Any]) -> dict[str, float]:
    """Log-probabilities of the first token by its text; tokens of the same text count together."""
    logps: dict[str, float] = {}
    tokens = (choice.get("logprobs") or {}).get("content") or [{}]
    for token in tokens[0].get("top_logprobs") or ():
        text, logp = token["token"], float(token["logprob"])
        known = logps.get(text)
        if known is not None:
            most = max(known, logp)
            logp = most + math.log(math.exp(known - most) + math.exp(logp - most))
        logps[text] = logp
    return logps


def _thinking(thought: str, text: str) -> str:
    """A thought that was cut off before the answer began stays without its end."""
    if not text:
        return f"<think>\n{thought}"
    return f"<think>\n{thought.strip()}\n</think>\n\n{text.lstrip()}"


def _is_asked(served: Any, asked: Asked) -> bool:
    """The model asked for, that model with a date after its name, or the other name given."""
    if served in (asked.model, asked.served_as):
        return True
    return (
        isinstance(served, str)
        and served.startswith(asked.model)
        and _DATE_AFTER_NAME.fullmatch(served, len(asked.model)) is not None
    )


def _message(content: bytes) -> str:
    """The message in an error's body, as the known servers nest it; else the body's beginning."""
    try:
        found = orjson.loads(content)
    except ValueError:
        return _short(content.decode("utf-8", "replace"))
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    return _short(found if isinstance(found, str) else orjson.dumps(found).decode())


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= MAX_DETAIL_CHARS else text[:MAX_DETAIL_CHARS] + "..."


def _retry_after_s(header: str) -> float:
    """Seconds or a date (RFC 9110 §10.2.3); 0 if it is neither."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(seconds, LONGEST_PAUSE_S) if seconds > 0 else 0.0
