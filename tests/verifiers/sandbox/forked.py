"""What a process does to itself for good is tried in a child."""

import json
import os
from collections.abc import Callable
from typing import Any


class Killed(Exception):
    """The child was ended by the signal in args[0]."""


def in_child(act: Callable[[], Any]) -> Any:
    """What `act` returns in a forked child, by way of JSON; the child's error fails the test."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = {"result": act()}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        os.close(reader)
        raise Killed(os.WTERMSIG(status))
    answer = json.loads(os.read(reader, 65536))  # not to the end: a grandchild may hold it open
    os.close(reader)
    assert "error" not in answer, answer["error"]
    return answer["result"]
