"""JSON messages over a pipe, each after its length in 8 bytes. Never pickle: the other end may be
in the hands of what is being judged. Handed into the sandbox too, so this file stands alone.
"""

import json
import os
import select
import struct
import time

MAX_BYTES = 256 << 20


def write_message(fd: int, message: dict) -> None:
    body = json.dumps(message).encode()
    view = memoryview(struct.pack("!Q", len(body)) + body)
    while view:
        view = view[os.write(fd, view) :]


def read_message(fd: int, deadline: float | None = None, max_bytes: int = MAX_BYTES) -> dict | None:
    """The next message; None at the end of the stream.

    deadline: by time.monotonic(). Raises TimeoutError past it, and ValueError for what is no
    message or is longer than `max_bytes`.
    """
    head = _read(fd, 8, deadline)
    if head is None:
        return None
    (length,) = struct.unpack("!Q", head)
    if length > max_bytes:
        raise ValueError(f"{length} bytes announced, more than {max_bytes}")
    body = _read(fd, length, deadline)
    if body is None:
        return None
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError(f"a {type(message).__name__} where an object was due")
    return message


def _read(fd: int, length: int, deadline: float | None) -> bytes | None:
    parts = []
    while length:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0 or not _readable(fd, left):
                raise TimeoutError("no message in time")
        part = os.read(fd, min(length, 1 << 20))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()  # select.select fails on descriptors above 1023
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
