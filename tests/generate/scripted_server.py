"""A chat server on the loopback that answers by a function: fast, and as badly as is wanted.

`python -m tests.generate.scripted_server [port] [delay in ms]` runs one that always says the same.
"""

import asyncio
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True)
class Reply:
    """length: the Content-Length told, where it is not to be the true one."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    length: int | None = None

    def raw(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        length = len(body) if self.length is None else self.length
        kind = "Content-Type: application/json\r\n"
        head = f"HTTP/1.1 {self.status} Said\r\n{kind}Content-Length: {length}\r\n{more}\r\n"
        return head.encode() + body


def completion(text: str | None, *, model="m", finish="stop", tokens=3, logprobs=None, **message):
    """The body of a chat reply; further keywords are fields of its message."""
    return {
        "id": "said",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
                **({"logprobs": logprobs} if logprobs else {}),
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": tokens,
            "total_tokens": 10 + tokens,
        },
    }


def lengths(request: dict[str, Any], number: int) -> dict[str, Any]:
    """Embeds a text as its length."""
    rows = [{"index": i, "embedding": [float(len(t))]} for i, t in enumerate(request["input"])]
    return {"data": rows[::-1]}


class Wire(bytes):
    """Sent as it is, after which the connection is closed."""


Answer = Callable[[dict[str, Any], int], Any]
"""From a request's JSON, and how many came before it, to a text, a body (dict or bytes), a Reply,
a Wire, or None, which closes the connection without a word."""


class ScriptedServer:
    """Listens as long as it is entered. `asked` counts requests by their body."""

    def __init__(
        self,
        answer: Answer,
        *,
        models: Sequence[Any] | Reply = ("m",),
        embed: Answer = lengths,
        port: int = 0,
    ) -> None:
        self.asked: Counter[bytes] = Counter()
        self.last_head = b""
        self.transports: weakref.WeakSet[Any] = weakref.WeakSet()
        self.num_asked = self.at_once = self.most_at_once = 0
        if not isinstance(models, Reply):
            listed = [{"id": model} if isinstance(model, str) else model for model in models]
            models = Reply({"data": listed})
        self._models = models
        self._answers = {b"/v1/chat/completions": answer, b"/v1/embeddings": embed}
        self._port = port
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "ScriptedServer":
        make = self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, backlog=4096
        )
        self._server = self._loop.run_until_complete(make)
        self._port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and cut all connections, as a server does that dies."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        for transport in self.transports:
            transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The distinct bodies asked."""
        return [orjson.loads(body) for body in self.asked]

    def reply(self, path: bytes, head: bytes, body: bytes) -> Any:
        if path == b"/v1/models":
            return self._models
        if path not in self._answers:
            return Reply({"detail": "Not Found"}, status=404)
        number, self.num_asked = self.num_asked, self.num_asked + 1
        self.asked[body] += 1
        self.last_head = head
        return self._answers[path](orjson.loads(body), number)


class _Connection(asyncio.Protocol):
    def __init__(self, server: ScriptedServer) -> None:
        self._server, self._buffer = server, b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._server.transports.add(transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + length], b""
        server = self._server
        server.at_once += 1
        server.most_at_once = max(server.most_at_once, server.at_once)
        said = server.reply(head.split(b" ", 2)[1], head, body)
        if isinstance(said, Reply) and said.delay_s:
            asyncio.get_running_loop().call_later(said.delay_s, self._say, said)
        else:
            self._say(said)

    def _say(self, said: Any) -> None:
        self._server.at_once -= 1
        if isinstance(said, str):
            said = completion(said)
        if said is None or isinstance(said, Wire):
            self._transport.write(said or b"")
            self._transport.close()
            return
        said = said if isinstance(said, Reply) else Reply(said)
        self._transport.write(said.raw())
        if said.length is not None:
            self._transport.close()


def main(port: float = 8765, delay_ms: float = 0.0) -> None:
    said = Reply(orjson.dumps(completion("some words of an answer " * 4)), delay_s=delay_ms / 1000)
    with ScriptedServer(lambda request, number: said, port=int(port)) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
