"""Requests to one server: kept within its capacity, and repeated where that can help."""

import asyncio
import dataclasses
import random
import threading
import urllib.request
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from align.generate.concurrency import Limiter
from align.generate.engine import Failure, OnAnswers
from align.generate.errors import GenerationError
from align.generate.handover import Handover
from align.generate.server_replies import LONGEST_PAUSE_S, Setback, refused

T = TypeVar("T")
Read = Callable[[bytes], T | Setback]
"""Makes something of the body of a reply with status 200."""

CONNECT_S = 30.0
"""For a connection, and for what a server knows without asking the model."""

FIRST_RETRIES = 3
"""For a server that has not answered yet, rather a mistake than a passing trouble."""


class Client:
    """Speaks to one server from any thread; one event loop in a background thread does it all.

    base: the URL that paths are added to. timeout_s: for one try. retries: after the first try.
    backoff_s: wait before the first retry; it doubles up to a minute, less a random half at most.
    """

    def __init__(
        self,
        base: str,
        *,
        api_key: str | None,
        max_concurrency: int,
        timeout_s: float,
        retries: int,
        backoff_s: float,
    ) -> None:
        self.base, self.limiter = base, Limiter(max_concurrency)
        self._retries, self._backoff_s = retries, backoff_s
        connect_s = min(CONNECT_S, timeout_s)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect_s)
        self._short = aiohttp.ClientTimeout(total=connect_s)
        self._random = random.Random()
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="server", daemon=True)
        thread.start()
        opened = asyncio.run_coroutine_threadsafe(_session(api_key), self._loop)
        self._session = opened.result()
        # Runs too when the client is forgotten or Python ends; aiohttp would complain otherwise.
        self._close = weakref.finalize(self, _shut, self._loop, thread, self._session)

    def close(self) -> None:
        """Cancel what is being asked. Nothing can be asked any more."""
        self._close()

    def ask_all(
        self,
        path: str,
        number: int,
        body: Callable[[int], bytes | Failure],
        read: Read[Any],
        on_answers: OnAnswers,
    ) -> None:
        """Post `body(i)` for each i below `number`, in order; what `read` makes of the replies, or
        the Failure of the last try, goes to `on_answers`, which is called in this thread.

        Raises GenerationError where the key is refused, and what `on_answers` raises; what has
        not been answered by then is cancelled.
        """
        self._check_open()
        handover = Handover(self._loop, self.limiter)
        asking = asyncio.run_coroutine_threadsafe(
            self._ask_all(URL(self.base + path), number, body, read, handover), self._loop
        )
        asking.add_done_callback(handover.ended)
        try:
            handover.take_all(number, on_answers)
        finally:
            asking.cancel()

    def fetch(self, path: str, read: Read[T]) -> T | Failure:
        """Get a path, before anything else was asked."""
        self._check_open()

        async def fetch() -> T | Failure:
            url = URL(self.base + path)
            found = await self._ask(url, None, read, min(self._retries, FIRST_RETRIES))
            self.limiter.release()
            return found

        asking = asyncio.run_coroutine_threadsafe(fetch(), self._loop)
        try:
            return asking.result()
        finally:
            asking.cancel()

    def _check_open(self) -> None:
        if not self._close.alive:
            raise GenerationError(f"{self.base}: the engine is closed")

    async def _ask_all(
        self,
        url: URL,
        number: int,
        body: Callable[[int], bytes | Failure],
        read: Read[Any],
        handover: Handover,
    ) -> None:
        places = iter(range(number))

        async def work() -> None:
            for place in places:
                content = body(place)
                if isinstance(content, Failure):
                    await self.limiter.acquire()
                    handover.put(place, content)
                else:
                    handover.put(place, await self._ask(url, content, read, self._retries))

        # A hundred thousand requests are not a hundred thousand tasks: each takes the next request.
        workers = [asyncio.create_task(work()) for _ in range(min(number, self.limiter.most))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()

    async def _ask(self, url: URL, body: bytes | None, read: Read[T], retries: int) -> T | Failure:
        """What `read` made of the reply, or the Failure of the last try. The slot stays taken."""
        reasons: list[str] = []
        while True:
            sent_in = await self.limiter.acquire()
            try:
                outcome = await self._try(url, body, read)
            except BaseException:
                self.limiter.release()
                raise
            if not isinstance(outcome, Setback):
                self.limiter.succeeded()
                return outcome
            if outcome.overloaded:
                self.limiter.overloaded(sent_in)
                if outcome.after_s:
                    self.limiter.pause(outcome.after_s)
            failure = outcome.failure
            reasons.append(failure.reason)
            most = retries if outcome.most_retries is None else outcome.most_retries
            if len(reasons) > retries or reasons.count(failure.reason) > most:
                if len(reasons) == 1:
                    return failure
                tries = f"{failure.detail} (try {len(reasons)}, the last)"
                return dataclasses.replace(failure, detail=tries)
            self.limiter.release()
            await asyncio.sleep(max(self._backoff(len(reasons)), outcome.after_s))

    async def _try(self, url: URL, body: bytes | None, read: Read[T]) -> T | Setback:
        method, timeout = ("GET", self._short) if body is None else ("POST", self._timeout)
        try:
            async with self._session.request(
                method, url, data=body, allow_redirects=False, timeout=timeout
            ) as response:
                content = await response.read()
        except TimeoutError:
            why = f"no whole reply within {timeout.total:g} s"
            return Setback(Failure("timeout", why), overloaded=True)
        except aiohttp.ClientPayloadError as error:
            return Setback(Failure("half_json", f"the connection broke amid the reply: {error}"))
        except aiohttp.ClientResponseError as error:
            return Setback(Failure("garbage", f"not HTTP: {error.message}"))
        except (aiohttp.ClientError, OSError) as error:
            return Setback(Failure("connection", str(error) or type(error).__name__))
        if response.status == 200:
            return read(content)
        setback = refused(response.status, response.headers.get("Retry-After", ""), content)
        if response.status == 401:
            raise GenerationError(
                f"{url}: the server refuses the API key (401: {setback.failure.detail}): set the "
                "environment variable that api_key_env names, or give api_key"
            )
        return setback

    def _backoff(self, num_tries: int) -> float:
        longest = min(LONGEST_PAUSE_S, self._backoff_s * 2 ** (num_tries - 1))
        return longest * self._random.uniform(0.5, 1)


async def _session(api_key: str | None) -> aiohttp.ClientSession:
    headers = {"Content-Type": "application/json", "User-Agent": "align"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key.strip()}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),  # the limiter limits
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        # Looked up for every request, so only where there is a proxy at all.
        trust_env=bool(urllib.request.getproxies()),
    )


def _shut(
    loop: asyncio.AbstractEventLoop, thread: threading.Thread, session: aiohttp.ClientSession
) -> None:
    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await session.close()
        loop.stop()

    asyncio.run_coroutine_threadsafe(end(), loop)
    if threading.current_thread() is not thread:  # as where the garbage collector runs in it
        thread.join()
        loop.close()
