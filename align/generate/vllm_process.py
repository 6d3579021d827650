"""The process that vLLM runs in, and the lines that go to and from it."""

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from align.generate.errors import GenerationError

WORKER = Path(__file__).with_name("vllm_worker.py")
LINES_SHOWN = 12
BYTES_READ = 20_000
SECONDS_TO_END = 10

Replies = queue.SimpleQueue
"""What one caller waits on: a reply (a dict) for each request, or None if the process ended."""


class VllmProcess:
    """vLLM with the given engine arguments, in a child process shared by the threads of this one.

    Its death is an error of whoever asks, and its memory goes with it. context: how many positions
    a prompt and its completion have together. Raises GenerationError if vLLM does not start.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (read when it died)
        self._process = subprocess.Popen(
            # -P: the worker's own folder has modules that would hide others of the same name.
            [sys.executable, "-P", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # vLLM's engine in the worker itself: one process to start, to watch and to end.
            env={"VLLM_ENABLE_V1_MULTIPROCESSING": "0", **os.environ},
            # A Ctrl-C is for this process, which then ends that one.
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.ended = False
        self.context = 0
        self._lock = threading.Lock()
        self._waiting: dict[int, Replies] = {}
        self._numbers = itertools.count()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="vllm ends")
        self._watcher.start()
        try:
            self._send([arguments])
            started = self._process.stdout.readline()
            if not started:
                raise self.death()
            self.context = json.loads(started)["context"]
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._deliver, daemon=True, name="vllm answers").start()

    def ask(self, requests: Iterable[Mapping[str, Any]], replies: Replies) -> list[int]:
        """Sends requests, whose replies will come to `replies` under the numbers returned."""
        with self._lock:
            if self.ended:
                raise self.death()
            numbered = [{"id": next(self._numbers), **request} for request in requests]
            numbers = [request["id"] for request in numbered]
            self._waiting |= dict.fromkeys(numbers, replies)
            self._send(numbered)
        return numbers

    def forget(self, numbers: Sequence[int]) -> None:
        """Nobody waits for these any more."""
        with self._lock:
            for number in numbers:
                self._waiting.pop(number, None)
            if not self.ended:
                with contextlib.suppress(GenerationError):
                    self._send([{"abort": list(numbers)}])

    def death(self) -> GenerationError:
        """The error that says how the process ended, with the last it said."""
        self._watcher.join(SECONDS_TO_END)
        code = self._process.returncode
        if code is None:
            how = "answers no more"
        elif code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        before = "" if self.context else " before it was ready"
        return GenerationError(
            f"vLLM {how}{before}. If memory ran out, let it have less (gpu_memory_utilization, "
            f"max_model_len, max_num_seqs). The last it said:\n  {self._last_lines()}"
        )

    def close(self) -> None:
        """Ends the process and all that it started."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._watcher.join(SECONDS_TO_END)
        if self._watcher.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._watcher.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, messages: Iterable[Mapping[str, Any]]) -> None:
        lines = "".join(json.dumps(message) + "\n" for message in messages)
        try:
            self._process.stdin.write(lines.encode())
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise self.death() from None

    def _watch(self) -> None:
        """With vLLM in several processes, the others would outlive the one that we know."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        # Still to be waited for, it keeps its number: the group can be nobody else's.
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def _last_lines(self) -> str:
        # Not read through the file object: seeking there would move where the child writes.
        log = self._log.fileno()
        size = os.fstat(log).st_size
        lines = os.pread(log, BYTES_READ, max(0, size - BYTES_READ)).decode(errors="replace")
        return "\n  ".join([line for line in lines.splitlines() if line.strip()][-LINES_SHOWN:])

    def _deliver(self) -> None:
        with self._process.stdout as lines:
            for line in lines:
                if not line.endswith(b"\n"):  # it died in the middle of a line
                    break
                replies = json.loads(line)
                with self._lock:
                    for reply in replies:
                        # None: its caller has given up, and forgot it.
                        if (asker := self._waiting.pop(reply["id"], None)) is not None:
                            asker.put(reply)
        with self._lock:
            self.ended = True
            for asker in self._waiting.values():
                asker.put(None)
