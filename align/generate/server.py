"""A model behind an OpenAI-compatible server: vLLM, SGLang, TGI, or a commercial one."""

import difflib
import functools
import re
import threading
from collections.abc import Mapping, Sequence
from hashlib import sha256
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

from align.generate.answering import Answering
from align.generate.engine import Conversation, Failure, OnAnswers, Sampling
from align.generate.errors import GenerationError
from align.generate.server_client import Client
from align.generate.server_replies import Asked, read_answer, read_embeddings, read_models

TEXTS_A_REQUEST = 64
_WITHOUT_A_LIST = frozenset({"http_404", "http_405", "http_501"})
# What tells weights apart; `created` is when the server was started.
_IDENTITY = ("root", "parent", "revision")


class ServerEngine(Answering):
    """Asks a chat server that speaks OpenAI's protocol, many requests at once.

    url: the base, `http://host:8000/v1`; `/v1` is added where no version is in it.
    model: the name to ask for, one of those the server lists.
    label: names the server in `fingerprint` instead of its url, so that answers are found again
        when it moves to another port or machine.
    max_concurrency: requests in flight at most, from all threads. It starts with 64, and falls
        when the server is overloaded (`Limiter`).
    timeout_s: for one try. retries: further tries of a request after trouble that may pass.
    served_as: the name that the server's replies give the model, where it is another.
    follows_schemas: whether the server can hold answers to a JSON schema (`response_format`).
    backoff_s: wait before the first retry; doubles each time.
    known_as: the fingerprint that the server had before. It is then not asked for it until there
        is something to answer, so what a store holds can be had without the server.

    Trouble that may pass (408, 409, 425, 429, 5xx, time-outs, broken connections, replies that
    can't be read) is met with retries, an answer without a word with one at temperature above 0.
    What still has no answer is a Failure: `http_<status>`, `timeout`, `connection`, `garbage`,
    `half_json`, `unfinished`, `empty`, `too_long`, `content_filter`, `other_model`, `no_logprobs`,
    `bad_prompt`.

    A model's reasoning that comes in a field of its own is put before the text as
    `<think>...</think>`. Token ids and log-probabilities of whole answers are not asked for.

    Raises GenerationError for a url or a key that is none.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        label: str | None = None,
        max_concurrency: int = 256,
        timeout_s: float = 600.0,
        retries: int = 5,
        served_as: str | None = None,
        follows_schemas: bool = True,
        backoff_s: float = 0.5,
        known_as: str | None = None,
    ) -> None:
        if max_concurrency < 1 or retries < 0 or not timeout_s > 0:
            raise GenerationError(
                f"max_concurrency={max_concurrency}, retries={retries}, timeout_s={timeout_s}: "
                "give at least 1, at least 0, and more than 0"
            )
        if api_key and not (api_key.strip().isascii() and api_key.strip().isprintable()):
            raise GenerationError("the API key has characters no key has: give its single line")
        self.model = model
        self.follows_schemas = follows_schemas
        self._served_as = served_as
        self._client = Client(
            _base(url),
            api_key=api_key,
            max_concurrency=max_concurrency,
            timeout_s=timeout_s,
            retries=retries,
            backoff_s=backoff_s,
        )
        self._name = f"server:{label or self._client.base}:{model}"
        self._fingerprint: str | None = None
        self._known_as = known_as
        self._connecting = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """Names the server, the model, and what the server tells of its weights. Connects first,
        unless that is known."""
        if self._known_as is not None:
            return self._known_as
        self.connect()
        assert self._fingerprint is not None
        return self._fingerprint

    @property
    def in_flight(self) -> int:
        """Requests being asked, or answered and not yet taken."""
        return self._client.limiter.in_flight

    @property
    def concurrency(self) -> int:
        """How many requests may be in flight at present."""
        return int(self._client.limiter.limit)

    def connect(self) -> None:
        """See whether the server is there and has the model; done once, at first use if not before.

        Raises GenerationError if it can't be reached, refuses the key, lists other models, or has
        other weights than those it was known by.
        """
        with self._connecting:
            if self._fingerprint is None:
                found = ":".join([self._name, *self._identity()])
                if self._known_as not in (None, found):
                    raise GenerationError(
                        f"{self._client.base}: the server is now {found}, and was "
                        f"{self._known_as}; run its stage again, so that nothing is mixed up"
                    )
                self._fingerprint = found

    def close(self) -> None:
        """End the background thread; calls under way raise GenerationError."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def answer(
        self,
        prompts: Sequence[Conversation],
        samples: Sequence[int],
        *,
        sampling: Sampling,
        seed: int,
        on_answers: OnAnswers,
        schema: Mapping[str, Any] | None = None,
        top_logprobs: int = 0,
    ) -> None:
        """See `Engine`; answers are handed over as they come, in the thread that asks.

        Each request is one sample; its seed is made of `seed`, the sample's number and the prompt.
        Whether the same seed gives the same answer is up to the server (vLLM: not where batches
        differ). Raises GenerationError as `connect` does, and where the key is refused.
        """
        assert len(prompts) == len(samples)
        self.connect()
        common = self._common(sampling, schema, top_logprobs)

        def body(place: int) -> bytes | Failure:
            prompt = prompts[place]
            try:
                told = {"messages": prompt, "seed": _seed(seed, samples[place], prompt)}
                return orjson.dumps({**common, **told})
            except TypeError as error:
                return Failure("bad_prompt", f"it can't be sent as JSON: {error}")

        asked = Asked(self.model, self._served_as, top_logprobs, sampling.temperature == 0)
        read = functools.partial(read_answer, asked=asked)
        self._client.ask_all("/chat/completions", len(prompts), body, read, on_answers)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The server's embedding of each text; (texts, dimensions).

        Raises GenerationError where some could not be had.
        """
        self.connect()
        starts = range(0, len(texts), TEXTS_A_REQUEST)
        rows: list[list[float]] = [[] for _ in texts]

        def body(place: int) -> bytes:
            some = list(texts[starts[place] : starts[place] + TEXTS_A_REQUEST])
            return orjson.dumps({"model": self.model, "input": some})

        def take(answers: Sequence[tuple[int, list[list[float]] | Failure]]) -> None:
            for place, answer in answers:
                start = starts[place]
                if isinstance(answer, Failure):
                    raise GenerationError(
                        f"{self._name}: no embeddings of the texts from {start} on: "
                        f"{answer.reason}: {answer.detail}"
                    )
                expected = len(texts[start : start + TEXTS_A_REQUEST])
                if len(answer) != expected:
                    raise GenerationError(
                        f"{self._name}: {len(answer)} embeddings came for {expected} texts"
                    )
                rows[start : start + expected] = answer

        self._client.ask_all("/embeddings", len(starts), body, read_embeddings, take)
        return rows

    def _common(
        self, sampling: Sampling, schema: Mapping[str, Any] | None, top_logprobs: int
    ) -> dict[str, Any]:
        """What the bodies of all requests of a call have in common."""
        common: dict[str, Any] = {
            "model": self.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.top_k:  # no field of OpenAI's own: sent only where it says something
            common["top_k"] = sampling.top_k
        if schema is not None and self.follows_schemas:
            named = {"name": "answer", "schema": schema, "strict": True}
            common["response_format"] = {"type": "json_schema", "json_schema": named}
        if top_logprobs:
            common |= {"logprobs": True, "top_logprobs": top_logprobs}
        return common

    def _identity(self) -> list[str]:
        """What the server's list of models tells of the weights; nothing where it has no list."""
        base = self._client.base
        listed = self._client.fetch("/models", read_models)
        if isinstance(listed, Failure):
            if listed.reason in _WITHOUT_A_LIST:
                return []
            raise GenerationError(_unreachable(base, listed))
        if not listed:
            return []
        for model in listed:
            if model["id"] in (self.model, f"models/{self.model}"):
                return [f"{name}={model[name]}" for name in _IDENTITY if model.get(name)]
        names = [str(model["id"]) for model in listed]
        near = difflib.get_close_matches(self.model, names, n=3, cutoff=0.4) or names[:5]
        raise GenerationError(
            f"{base}: the server has no model {self.model!r} among its {len(names)}: "
            f"did you mean {' or '.join(map(repr, near))}?"
        )


def _base(url: str) -> str:
    """The url without a slash at its end, and with a version in its path."""
    try:
        parts = urlsplit(url.strip())
        is_server = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none, or half an IPv6 address
        is_server = False
    if not is_server:
        raise GenerationError(f"{url!r} is no server's url: give one as http://localhost:8000/v1")
    if parts.query or parts.fragment or parts.username:
        raise GenerationError(
            f"a server's url is a plain one, as {parts.scheme}://{parts.hostname}/v1: leave out "
            "what follows '?' or '#', and give a key as api_key"
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    if not re.search(r"/v\d", path):
        path += "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _seed(seed: int, sample: int, prompt: Conversation) -> int:
    """31 bits, which all servers take.

    The prompt is in it, or the first samples of all prompts would share one stream of random
    numbers, and prompts that are alike would get answers that are.
    """
    asked = orjson.dumps([seed, sample, prompt])
    return int.from_bytes(sha256(asked).digest()[:4]) >> 1


def _unreachable(base: str, failure: Failure) -> str:
    why = f"{failure.reason}: {failure.detail}"
    if failure.reason == "http_403":
        return f"{base}: the server refuses this key ({why}): see what it is allowed to do"
    if failure.reason in ("connection", "timeout"):
        return f"{base}: the server can't be reached ({why}): is it running, and is the url right?"
    return f"{base}/models: no list of models came ({why}): is the url that of an API, and up?"
