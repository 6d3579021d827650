"""Requests and executions through the store: what it holds is not done again."""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from synth.flow import structured
from synth.flow.item import Answer
from synth.flow.progress import Steps
from synth.flow.settings import Settings
from synth.flow.source_key import source_key
from synth.flow.store import Store, canonical, key, key_prefix
from synth.flow.templates import Conversation
from synth.flow.under_way import UnderWay, waited
from synth.synthesis import SynthesisError

FEW_REQUESTS = 100
"""Before the share of failed ones says anything."""

AT_ONCE = 16
"""Executions between two commits: what a kill loses at most."""


class Stopped(Exception):
    """The run has ended elsewhere; what is under way need not go on."""


@dataclasses.dataclass(frozen=True)
class Failed:
    """A request without an answer; never kept in the store."""

    reason: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Ask:
    """What the requests of one step have in common."""

    step: str
    engine: Any
    sampling: Any
    seed: int
    schema: Mapping[str, Any] | None = None
    top_logprobs: int = 0

    def prefix(self) -> Any:
        return key_prefix(
            engine=self.engine.fingerprint,
            sampling=dataclasses.asdict(self.sampling),
            seed=self.seed,
            schema=self.schema,
            top_logprobs=self.top_logprobs,
        )


def step_seed(seed: int, step: str) -> int:
    """Steps that ask the same prompt draw different answers. 31 bits."""
    return int.from_bytes(sha256(f"{seed}/{step}".encode()).digest()[:4]) >> 1


class Asking:
    """All requests and executions of a run, from all its windows."""

    def __init__(self, store: Store, settings: Settings, steps: Steps) -> None:
        self.store, self.settings, self.steps = store, settings, steps
        self.stop = threading.Event()
        self.under_way = UnderWay()
        self._source_keys: dict[int, tuple[Any, str]] = {}

    def answers(
        self, ask: Ask, conversations: Sequence[Conversation], samples: Sequence[int]
    ) -> tuple[list[Answer | Failed], list[str]]:
        """The answer to each request, and the request's key in hex.

        Raises SynthesisError where too many requests fail, and what the engine raises where none
        could be answered.
        """
        prefix = ask.prefix()
        keys = [
            key(prefix, canonical([conversation, sample]))
            for conversation, sample in zip(conversations, samples, strict=True)
        ]
        known: dict[bytes, Any] = self.store.get(keys)
        places = {k: place for place, k in enumerate(keys) if k not in known}
        if places:
            with self.under_way.claimed(places) as (mine, theirs):
                # Another window may have got an answer between the look into the store and now.
                mine |= self.store.get(list(mine))
                open_ = {k: places[k] for k, record in mine.items() if record is None}
                if open_:
                    mine |= self._asked(ask, conversations, samples, open_)
            self._saved(ask.step, "requests", len(keys) - len(open_))
            known |= mine | waited(theirs)
        else:
            self._saved(ask.step, "requests", len(keys))
        return [_answer(known[k]) for k in keys], [k.hex() for k in keys]

    def _asked(
        self,
        ask: Ask,
        conversations: Sequence[Conversation],
        samples: Sequence[int],
        places: Mapping[bytes, int],
    ) -> dict[bytes, Any]:
        """Records (or failures) by key, each committed before its request counts as done."""
        keys = list(places)
        found: dict[bytes, Any] = {}

        def take(answers: Sequence[tuple[int, Any]]) -> None:
            if self.stop.is_set():
                raise Stopped
            failed = [(n, answer) for n, answer in answers if getattr(answer, "reason", None)]
            failed_places = {n for n, _ in failed}
            good = [(keys[n], _record(a)) for n, a in answers if n not in failed_places]
            self.store.put(good)
            found.update(good)
            for number, answer in failed:  # last, for it may end the run
                found[keys[number]] = self._failed(ask, Failed(answer.reason, answer.detail))
            with self.steps.changing(ask.step) as state:
                state.done += len(answers)
                state.waiting -= len(answers)
                state.in_flight = min(
                    state.waiting, getattr(ask.engine, "in_flight", state.waiting)
                )
                state.tokens += sum(record[2] for _, record in good)

        with self.steps.changing(ask.step) as state:
            state.waiting += len(keys)
        self.steps.count("requests/sent", len(keys))
        sent = [conversations[place] for place in places.values()]
        if ask.schema is not None and not ask.engine.follows_schemas:
            sent = [structured.asked_for(conversation, ask.schema) for conversation in sent]
        ask.engine.answer(
            sent,
            [samples[place] for place in places.values()],
            sampling=ask.sampling,
            seed=ask.seed,
            on_answers=take,
            schema=ask.schema if ask.engine.follows_schemas else None,
            top_logprobs=ask.top_logprobs,
        )
        if len(found) != len(keys):
            raise SynthesisError(
                f"{ask.step}: the engine answered {len(found)} of {len(keys)} requests"
            )
        return found

    def _failed(self, ask: Ask, failure: Failed) -> Failed:
        """Count it, and stop the run where the policy says so."""
        self.steps.count(f"requests/failed:{failure.reason}")
        counts = dict(self.steps.counts)
        num_failed = sum(n for name, n in counts.items() if name.startswith("requests/failed:"))
        if self.settings.on_failure == "stop":
            raise SynthesisError(
                f"{ask.step}: a request failed ({failure.reason}: {failure.detail}), and "
                "on_failure is 'stop'; what was answered is kept, so the same command goes on"
            )
        num_sent = counts["requests/sent"]
        if num_failed >= FEW_REQUESTS and num_failed > self.settings.max_failed * num_sent:
            raise SynthesisError(
                f"{ask.step}: {num_failed} of {num_sent} requests failed, the last by "
                f"{failure.reason} ({failure.detail}), and max_failed is "
                f"{self.settings.max_failed}; what was answered is kept: mend the cause, and the "
                "same command goes on"
            )
        return failure

    def executions(
        self,
        step: str,
        function: Callable[[Sequence[Any]], Sequence[Any]],
        inputs: Sequence[Any],
        *,
        source: Any = None,
        keeps: Callable[[Any], bool] = lambda result: True,
    ) -> tuple[list[Any], list[str]]:
        """`function(inputs)`, a JSON value each, and the keys in hex.

        source: the callable whose source decides the results, if it is not `function`. Results that
        `keeps` refuses (something went wrong that another time may not) are not stored.
        """
        prefix = key_prefix(execution=self.source_key(source or function))
        keys = [key(prefix, canonical(item)) for item in inputs]
        known = self.store.get(keys)
        places = {k: place for place, k in enumerate(keys) if k not in known}
        self._saved(step, "executions", len(keys) - len(places))
        self.steps.count("executions/done", len(places))
        missing = list(places.items())
        for start in range(0, len(missing), AT_ONCE):
            if self.stop.is_set():
                raise Stopped
            some = missing[start : start + AT_ONCE]
            results = function([inputs[place] for _, place in some])
            done = [(k, result) for (k, _), result in zip(some, results, strict=True)]
            self.store.put([pair for pair in done if keeps(pair[1])])
            known.update(done)
            with self.steps.changing(step) as state:
                state.done += len(some)
        return [known[k] for k in keys], [k.hex() for k in keys]

    def _saved(self, step: str, what: str, number: int) -> None:
        """What the store knew, or what was asked twice in one window."""
        self.steps.count(f"{what}/saved", number)
        with self.steps.changing(step) as state:
            state.done += number
            state.saved += number

    def source_key(self, function: Any) -> str:
        """`source_key` of a callable, worked out once."""
        # The function is kept beside its key: another may get the same id once it is gone.
        if id(function) not in self._source_keys:
            self._source_keys[id(function)] = (function, source_key(function))
        return self._source_keys[id(function)][1]


def _record(completion: Any) -> list[Any]:
    # Half of a surrogate pair, as some servers cut them, can be stored nowhere.
    text = completion.text.encode("utf-8", "replace").decode()
    return [text, completion.finish_reason, completion.num_tokens, dict(completion.first_logps)]


def _answer(record: Any) -> Answer | Failed:
    return record if isinstance(record, Failed) else Answer(*record)
