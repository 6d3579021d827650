import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from align.generate import GenerationError
from align.generate.server import ServerEngine
from tests.generate.asking import (
    SAMPLING,
    ask,
    conversations,
    echo,
    error,
    eventually,
    in_turn,
    served,
)
from tests.generate.scripted_server import Reply, ScriptedServer, completion

ROOT = Path(__file__).resolve().parent.parent.parent


# Concurrency


def slow(request, number):
    return Reply(completion("yes"), delay_s=0.005)


def test_no_more_requests_than_allowed_are_at_the_server():
    with served(slow, max_concurrency=7) as (server, engine):
        ask(engine, 100)
        assert server.most_at_once == 7


def test_threads_share_what_is_allowed():
    with served(slow, max_concurrency=5) as (server, engine):
        threads = [threading.Thread(target=ask, args=(engine, 40)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.most_at_once == 5
        assert server.num_asked == 160


def test_a_request_is_in_flight_until_its_answer_has_been_taken():
    with served(echo, max_concurrency=4) as (server, engine):
        seen = []

        def take(answers):
            time.sleep(0.02)
            seen.append((server.num_asked - sum(taken), engine.in_flight))
            taken.append(len(answers))

        taken = []
        engine.answer(conversations(40), [0] * 40, sampling=SAMPLING, seed=0, on_answers=take)
        assert sum(taken) == 40
        assert max(asked for asked, _ in seen) <= 4
        assert all(1 <= in_flight <= 4 for _, in_flight in seen)
        assert eventually(lambda: engine.in_flight == 0)


def test_answers_that_come_while_others_are_taken_are_handed_over_together():
    with served(echo, max_concurrency=64) as (server, engine):
        sizes = []

        def take(answers):
            sizes.append(len(answers))
            if len(sizes) == 1:
                eventually(lambda: server.num_asked == 50)
                time.sleep(0.1)

        engine.answer(conversations(50), [0] * 50, sampling=SAMPLING, seed=0, on_answers=take)
    assert sum(sizes) == 50
    assert len(sizes) <= 5


def test_on_answers_is_called_in_the_thread_that_asks():
    with served(echo) as (_, engine):
        threads = set()
        engine.answer(
            conversations(5),
            [0] * 5,
            sampling=SAMPLING,
            seed=0,
            on_answers=lambda answers: threads.add(threading.get_ident()),
        )
        assert threads == {threading.get_ident()}


def test_requests_are_made_as_they_are_sent_not_all_at_once():
    class Prompts(Sequence):
        furthest = 0

        def __len__(self):
            return 1000

        def __getitem__(self, place):
            self.furthest = max(self.furthest, place)
            return conversations(1)[0]

    prompts, num_taken, ahead = Prompts(), 0, []

    def take(answers):
        nonlocal num_taken
        ahead.append(prompts.furthest - num_taken)
        num_taken += len(answers)

    with served(echo, max_concurrency=10) as (_, engine):
        engine.answer(prompts, [0] * 1000, sampling=SAMPLING, seed=0, on_answers=take)
    assert max(ahead) <= 20


def test_concurrency_falls_to_what_the_server_bears_and_recovers_when_it_bears_more():
    bears = 6

    def script(request, number):
        return error(429, "busy") if server.at_once > bears else slow(request, number)

    with served(script, retries=100, backoff_s=0.004) as (server, engine):
        assert engine.concurrency == 64
        answers = ask(engine, 150)
        assert {answer.text for answer in answers} == {"yes"}
        low = engine.concurrency
        assert low <= 2 * bears
        bears = 1000
        ask(engine, 600)
        assert engine.concurrency >= low + 5


# The end of a call


class Stopped(Exception):
    pass


def test_what_on_answers_raises_ends_the_call_and_cancels_what_is_pending():
    def take(answers):
        raise Stopped

    with served(slow, max_concurrency=4) as (server, engine):
        with pytest.raises(Stopped):
            engine.answer(
                conversations(1000), [0] * 1000, sampling=SAMPLING, seed=0, on_answers=take
            )
        assert eventually(lambda: engine.in_flight == 0)
        num_asked = server.num_asked
        time.sleep(0.05)
        assert server.num_asked == num_asked <= 8
        assert ask(engine, 10)[9].text == "yes"


def test_answers_that_came_before_a_call_failed_are_taken_first():
    def script(request, number):
        if number == 3:
            return Reply(b"", 401, delay_s=0.1)
        return Reply(completion("yes"), delay_s=0.03 * min(number, 1))

    num_taken = 0

    def take(answers):
        nonlocal num_taken
        num_taken += len(answers)
        time.sleep(0.3)

    with (
        served(script, max_concurrency=4) as (_, engine),
        pytest.raises(GenerationError, match="401"),
    ):
        engine.answer(conversations(10), [0] * 10, sampling=SAMPLING, seed=0, on_answers=take)
    assert num_taken == 3


def test_ctrl_c_ends_a_call_that_waits():
    with served(in_turn(Reply(completion("late"), delay_s=9))) as (_, engine):
        engine.connect()
        main = threading.main_thread().ident
        with pytest.raises(KeyboardInterrupt):
            threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
            ask(engine, 10)
        assert eventually(lambda: engine.in_flight == 0)


def test_closing_ends_the_calls_under_way_and_refuses_new_ones():
    with served(in_turn(Reply(completion("late"), delay_s=9))) as (_, engine):
        engine.connect()
        threading.Timer(0.1, engine.close).start()
        with pytest.raises(GenerationError, match="closed"):
            ask(engine, 10)
        with pytest.raises(GenerationError, match="closed"):
            ask(engine, 10)


def test_an_engine_that_is_forgotten_ends_its_thread():
    with ScriptedServer(echo) as server:
        before = set(threading.enumerate())
        engine = ServerEngine(server.url, "m")
        ask(engine)
        started = set(threading.enumerate()) - before  # other tests' threads may end meanwhile
        assert started
        del engine
        gc.collect()
        assert eventually(lambda: not any(thread.is_alive() for thread in started))


def test_python_ends_without_a_word_when_an_engine_was_not_closed():
    code = (
        "import sys; from align.generate.server import ServerEngine as E; "
        "from align.generate import Sampling as S; engine = E(sys.argv[1], 'm'); "
        "engine.answer([[{'role': 'user', 'content': 'a'}]], [0], sampling=S(), seed=0, "
        "on_answers=print); assert 'torch' not in sys.modules"
    )
    with ScriptedServer(echo) as server:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", code, server.url],
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "default"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "to a" in done.stdout
