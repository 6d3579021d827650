"""Asking a scripted server through the engine."""

import contextlib
import time

from align.generate import Sampling
from align.generate.server import ServerEngine
from tests.generate.scripted_server import Reply, ScriptedServer, lengths

SAMPLING = Sampling()


@contextlib.contextmanager
def served(answer, *, models=("m",), embed=lengths, **settings):
    """A server and an engine that asks it, with retries that come at once."""
    quick = {"backoff_s": 0.001} | settings
    with (
        ScriptedServer(answer, models=models, embed=embed) as server,
        ServerEngine(server.url, "m", **quick) as engine,
    ):
        yield server, engine


def conversations(number):
    return [[{"role": "user", "content": f"question {i}"}] for i in range(number)]


def ask(engine, number=1, *, prompts=None, samples=None, sampling=SAMPLING, seed=0, **more):
    """The answers, in the order of the requests."""
    prompts = prompts or conversations(number)
    found = {}
    engine.answer(
        prompts,
        samples or [0] * len(prompts),
        sampling=sampling,
        seed=seed,
        on_answers=found.update,
        **more,
    )
    return [found[place] for place in range(len(prompts))]


def echo(request, number):
    return "to " + request["messages"][-1]["content"]


def in_turn(*replies):
    """The first request gets the first reply, and so on; the last is said for ever."""
    return lambda request, number: replies[min(number, len(replies) - 1)]


def error(status, message, **headers):
    return Reply({"error": {"message": message}}, status, headers)


def eventually(holds, seconds=5.0):
    """Whether it comes to hold; what other threads do takes a moment."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
