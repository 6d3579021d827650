"""From the event loop that gets answers to the thread that asked for them."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from align.generate.concurrency import Limiter
from align.generate.errors import GenerationError

Batch = list[tuple[int, Any]]


class Handover:
    """The answers of one call on their way, each holding its slot until it has been taken.

    Answers that come in one turn of the loop are sent together, and the thread takes all that have
    come since it last looked: a busy server costs few calls, a slow one waits for none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limiter: Limiter) -> None:
        self._loop = loop
        self._limiter = limiter
        self._batch: Batch = []
        self._sent: SimpleQueue[Batch | BaseException] = SimpleQueue()
        self._num_held = 0
        self._is_abandoned = False

    # In the loop:

    def put(self, place: int, answer: Any) -> None:
        """Hand over an answer along with the slot it holds."""
        if self._is_abandoned:
            self._limiter.release()
            return
        self._num_held += 1
        self._batch.append((place, answer))
        if len(self._batch) == 1:
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._sent.put(self._batch)
        self._batch = []

    def _release(self, number: int) -> None:
        self._num_held -= number
        self._limiter.release(number)

    def _abandon(self) -> None:
        self._is_abandoned = True
        self._release(self._num_held)

    # In the thread that asked, but `ended`, which any thread may call:

    def ended(self, asking: Future[None]) -> None:
        """Nothing more will be put. If `asking` failed, so does `take_all`."""
        if asking.cancelled():
            self._sent.put(GenerationError("the engine was closed while it was being asked"))
        elif error := asking.exception():
            self._sent.put(error)

    def take_all(
        self, number: int, on_answers: Callable[[Sequence[tuple[int, Any]]], None]
    ) -> None:
        """Call `on_answers` until `number` answers are taken. Raises what it or the asking did."""
        try:
            while number:
                batch = self._next()
                on_answers(batch)
                number -= len(batch)
                self._in_loop(self._release, len(batch))
        finally:
            self._in_loop(self._abandon)

    def _next(self) -> Batch:
        """All that has come, once something has."""
        batch: Batch = []
        with contextlib.suppress(Empty):
            while True:
                sent = self._sent.get(block=not batch)
                if isinstance(sent, BaseException):
                    if not batch:
                        raise sent
                    self._sent.put(sent)  # the last word, once the answers before it are taken
                    return batch
                batch += sent
        return batch

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the engine is closed, and its slots are gone
            self._loop.call_soon_threadsafe(call, *arguments)
