"""Persistent worker processes that can be killed at any moment.

A worker is a Python process that imports one module and answers requests with that module's
`handle(request) -> reply`, both JSON. Whoever calls holds a worker for itself, so the clock starts
when the work starts, not when it queues; a worker that is late, dies or answers nonsense is killed
with its process group and replaced. Works from threads and after a fork: the child gets workers of
its own. JSON and never pickle: a worker may be in the hands of what it judges.
"""

import atexit
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from verifiers.messages import read_message, write_message

_START_TIMEOUT_S = 120.0
"""A worker may import something large on a busy machine; nobody's item is charged for that."""

_HOME = str(Path(__file__).resolve().parents[1])

_BOOT = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from verifiers.workers import serve
serve(sys.argv[2], json.loads(sys.argv[3]))"""


class WorkerFailure(Exception):
    """No answer; `reason` is a short fixed word: `timeout`, `worker_died`, `worker_error`, or
    `cannot_start`, which no other request would change.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class WorkerPool:
    """At most `size` workers of `module`, started when first needed.

    module: has `handle(request: dict) -> dict`, and may have `prepare(**settings)`, called once
    at the start, and `idle()`, called when a reply is out. recycle_after: a worker is replaced
    after so many requests.
    """

    def __init__(
        self, module: str, size: int, *, recycle_after: int | None = None, **settings: Any
    ) -> None:
        self.module = module
        self.size = size
        self.recycle_after = recycle_after
        self.settings = settings
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        self._idle: deque[_Worker] = deque()
        self._all: set[_Worker] = set()
        self._free = threading.BoundedSemaphore(self.size)

    def call(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """The worker's reply. Waits for a free worker as long as it takes.

        timeout_s: from the moment a worker gets the request. Raises WorkerFailure.
        """
        with self._free:
            worker = self._take() or self._start()
            try:
                reply = worker.ask(request, timeout_s)
            except BaseException:
                self._drop(worker)
                raise
            if self.recycle_after is not None and worker.num_requests >= self.recycle_after:
                self._drop(worker)
            else:
                self._idle.append(worker)
        if "worker_error" in reply:
            raise WorkerFailure("worker_error", reply["worker_error"])
        return reply

    def map(
        self, requests: Sequence[dict[str, Any]], timeout_s: float
    ) -> list[dict[str, Any] | WorkerFailure]:
        """One reply or failure a request, in order; `timeout_s` for each alone."""

        def one(request: dict[str, Any]) -> dict[str, Any] | WorkerFailure:
            try:
                return self.call(request, timeout_s)
            except WorkerFailure as failure:
                return failure

        if len(requests) < 2 or self.size == 1:
            return [one(request) for request in requests]
        with ThreadPoolExecutor(self.size) as threads:
            return list(threads.map(one, requests))

    def close(self) -> None:
        """Kill the workers; the next call starts new ones."""
        for worker in list(self._all):
            self._drop(worker)
        self._idle.clear()

    def _take(self) -> "_Worker | None":
        """An idle worker; one that somebody killed meanwhile is nobody's lost item."""
        while True:
            try:
                worker = self._idle.pop()
            except IndexError:  # asking first whether there is one would be a race
                return None
            if worker.alive:
                return worker
            self._drop(worker)

    def _start(self) -> "_Worker":
        worker = _Worker(self.module, self.settings)
        self._all.add(worker)
        return worker

    def _drop(self, worker: "_Worker") -> None:
        self._all.discard(worker)
        worker.kill()

    def _forget(self) -> None:
        """In a forked child: the workers are the parent's."""
        for worker in self._all:
            worker.forget()
        self._reset()


class _Worker:
    def __init__(self, module: str, settings: dict[str, Any]) -> None:
        # Where this package lies comes first; "" would be another folder after an os.chdir.
        paths = [_HOME, *(os.path.abspath(os.fspath(path)) for path in sys.path)]
        arguments = [json.dumps(paths), module, json.dumps(settings)]
        self.num_requests = 0
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, *arguments],  # -P: no modules of the working folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        try:
            ready = self._receive(time.monotonic() + _START_TIMEOUT_S)
            if "cannot_start" in ready:
                raise WorkerFailure("cannot_start", ready["cannot_start"])
        except BaseException:
            self.kill()
            raise

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        self.num_requests += 1
        try:
            write_message(self._process.stdin.fileno(), request)
        except OSError:
            raise self._died() from None
        return self._receive(deadline)

    def _receive(self, deadline: float) -> dict[str, Any]:
        try:
            message = read_message(self._process.stdout.fileno(), deadline)
        except TimeoutError:
            raise WorkerFailure("timeout", "no answer in time") from None
        except ValueError as error:
            raise WorkerFailure("worker_error", f"the reply can't be read: {error}") from None
        except OSError:  # closed meanwhile by another thread
            raise self._died() from None
        if message is None:
            raise self._died()
        return message

    def _died(self) -> WorkerFailure:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return WorkerFailure("worker_died", f"exit status {self._process.returncode}")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.forget()

    def forget(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()


def serve(module: str, settings: dict[str, Any]) -> None:
    """The worker's side: answer until the requests end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asked
    requests, replies = os.dup(0), os.dup(1)
    os.set_inheritable(requests, False)
    os.set_inheritable(replies, False)
    with open(os.devnull, "r+b", buffering=0) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)  # what a library prints must not get among the replies
    try:
        code = importlib.import_module(module)
        if hasattr(code, "prepare"):
            code.prepare(**settings)
    except Exception as error:
        write_message(replies, {"cannot_start": f"{type(error).__name__}: {error}"[:500]})
        return
    write_message(replies, {})
    while (request := read_message(requests)) is not None:
        try:
            reply = code.handle(request)
        except Exception as error:
            reply = {"worker_error": f"{type(error).__name__}: {error}"[:500]}
        write_message(replies, reply)
        if hasattr(code, "idle"):
            code.idle()


_pools: "weakref.WeakSet[WorkerPool]" = weakref.WeakSet()


def _forget_all() -> None:
    for pool in _pools:
        pool._forget()


@atexit.register
def _close_all() -> None:
    for pool in _pools:
        pool.close()


os.register_at_fork(after_in_child=_forget_all)
