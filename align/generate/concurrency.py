"""How many requests may be at a server at once: found out by asking it."""

import asyncio
import logging
from collections import deque

logger = logging.getLogger(__name__)


class Limiter:
    """Slots for requests; their number rises while the server keeps up and halves when it does not.

    Additive increase, multiplicative decrease (Jacobson 1988, §1 and appendix D): up to the first
    overload each success that found all slots taken adds one, which doubles them a round trip
    (slow start); from then on as many successes as there are slots add one. However many requests
    of one round trip an overload hits, it halves once: only requests sent since the last halving
    say anything about what is left.

    All methods belong to one event loop; `in_flight` and `limit` may be read from any thread.
    """

    def __init__(self, most: int, start: int = 64) -> None:
        self.most = most
        self.limit = float(min(start, most))
        self.in_flight = 0
        self._round = 0
        self._pause: asyncio.TimerHandle | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> int:
        """Wait for a slot, first come, first served. Gives the round for `overloaded`."""
        if not self._waiting and self._is_free():
            self.in_flight += 1
            return self._round
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # cancelled just when the slot was given
                self.release()
            raise
        return self._round

    def release(self, number: int = 1) -> None:
        """Give slots back."""
        self.in_flight -= number
        self._grant()

    def succeeded(self) -> None:
        """A request was answered; call it before its slot is released."""
        if self.in_flight < int(self.limit):
            return  # Not all slots are in use, so nothing was learnt about one more.
        slow_start = self._round == 0
        self.limit = min(self.most, self.limit + (1 if slow_start else 1 / self.limit))
        self._grant()

    def overloaded(self, sent_in: int) -> None:
        """The server refused a request that got its slot in round `sent_in`, or let it lie."""
        if sent_in != self._round:
            return
        self._round += 1
        self.limit = max(1.0, min(self.limit, self.in_flight) / 2)
        logger.log(
            logging.WARNING if self._round == 1 else logging.INFO,
            "the server is overloaded: from here on at most %d requests at once",
            self.limit,
        )

    def pause(self, seconds: float) -> None:
        """Give no slot for so long; of several pauses the one that ends last counts."""
        loop = asyncio.get_running_loop()
        if self._pause is not None:
            if self._pause.when() >= loop.time() + seconds:
                return
            self._pause.cancel()
        self._pause = loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._grant()

    def _is_free(self) -> bool:
        return self.in_flight < int(self.limit) and self._pause is None

    def _grant(self) -> None:
        while self._waiting and self._is_free():
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.in_flight += 1
                waiter.set_result(None)
