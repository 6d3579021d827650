"""What is asked, in which order it comes out, and what is not asked again."""

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

import synth
from synth.decontamination import Evaluations
from synth.flow.settings import Settings
from synth.flow.store import Store
from synth.flow.stream import Stream, check_rows
from tests.synth.flow import two_steps
from tests.synth.flow.two_steps import rows
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last


def echo(messages, sample):
    return f"{len(messages)}:{last(messages)}:{sample}"


def made(source, engine=None, store=None, method=two_steps, *, sampling=None, **options):
    names = ("window_rows", "windows_at_once", "watch", "num_rows")
    placed = {name: options.pop(name) for name in names if name in options}
    settings = Settings(sampling=sampling or Sampling(), **options)
    stream = Stream(method, source, engine or Scripted(echo), settings, store=store, **placed)
    parts = list(stream)
    return [row for part in parts for row in part.rows], stream


@dataclass
class Late:
    """Answers in a random order, from a thread of its own, after a while."""

    fingerprint: str = "scripted:1"
    follows_schemas: bool = False

    def answer(self, prompts, samples, *, sampling, seed, on_answers, schema=None, top_logprobs=0):
        order = list(range(len(prompts)))
        random.shuffle(order)

        def work():
            for place in order:
                time.sleep(random.random() / 5000)
                text = echo(prompts[place], samples[place])
                on_answers([(place, Completion(text))])

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()


def test_the_order_of_completion_and_the_windows_change_nothing():
    expected, _ = made(rows(60))
    assert len(expected) == 60
    for shape in ({"window_rows": 1}, {"window_rows": 7, "windows_at_once": 3}, {}):
        found, stream = made(rows(60), Late(), **shape)
        assert found == expected
        assert stream.counts.items == 180 == stream.counts.used


def test_asked_once_is_enough():
    store, engine = Store(), Scripted(echo)
    first, _ = made(rows(20), engine, store)
    assert engine.num_asked == 40
    again, stream = made(rows(20), engine, store)
    assert again == first and engine.num_asked == 40
    assert stream.counts.notes == {"requests/saved": 40}


def test_one_more_row_costs_its_own_requests_alone():
    store, engine = Store(), Scripted(echo)
    made(rows(20), engine, store)
    whole = [*rows(7), {"id": "new", "prompt": [{"role": "user", "content": "new"}]}, *rows(20)[7:]]
    made(whole, engine, store)
    assert engine.num_asked == 42
    assert {json.loads(asked)[0][0]["content"] for asked in list(engine.asked)[-2:]} == {"new"}


class Settled:
    """A store after a run of 20 rows, and how many requests another run then makes."""

    def __init__(self):
        self.store = Store()
        made(rows(20), Scripted(echo), self.store)

    def asks(self, engine=None, method=two_steps, **settings):
        engine = engine or Scripted(echo)
        made(rows(20), engine, self.store, method, **settings)
        return engine.num_asked


def test_what_decides_an_answer_is_part_of_its_key():
    settled = Settled()
    assert settled.asks() == 0
    assert settled.asks(sampling=Sampling(temperature=0.9)) == 40
    assert settled.asks(seed=1) == 40
    assert settled.asks(Scripted(echo, fingerprint="scripted:2")) == 40


def test_a_change_in_one_steps_prompt_asks_that_step_alone():
    class Reworded:
        METHOD, VERSION = "two_steps", 1

        @staticmethod
        def make(window, settings):
            drafts = window.generate("draft", window.items, lambda item: item.columns["prompt"])
            drafts = [draft for group in drafts for draft in group]
            window.generate(
                "revise",
                drafts,
                lambda item: [*item.columns["prompt"], {"role": "user", "content": "Mend it."}],
            )

    settled = Settled()
    assert settled.asks(method=Reworded) == 20
    assert settled.asks(method=Reworded) == 0


def test_failures_are_asked_again_and_answers_are_not():
    store, broken = Store(), {"question 3", "question 5"}

    def script(messages, sample):
        return Failure("http_503") if last(messages) in broken else echo(messages, sample)

    engine = Scripted(script)
    _, stream = made(rows(20), engine, store, max_failed=1.0)
    assert stream.counts.dropped["draft:failed:http_503"] == 2
    broken.clear()
    before = engine.num_asked
    found, _ = made(rows(20), engine, store)
    assert engine.num_asked - before == 2 + 2
    assert found == made(rows(20))[0]


def test_rows_are_taken_up_only_as_there_is_room():
    taken = 0

    def source():
        nonlocal taken
        for row in rows(1000):
            taken += 1
            yield row

    settings = Settings(sampling=Sampling())
    stream = iter(
        Stream(two_steps, source(), Scripted(echo), settings, window_rows=10, windows_at_once=3)
    )
    next(stream)
    assert taken <= 40
    stream.close()


def test_an_error_in_a_window_ends_the_run_with_that_error():
    def script(messages, sample):
        if "question 45" in last(messages):
            raise synth.SynthesisError("no room")
        return echo(messages, sample)

    with pytest.raises(synth.SynthesisError, match="no room"):
        made(rows(1000), Scripted(script), window_rows=5)


class Choosing:
    """Keeps every third row, and says how long its text is."""

    METHOD, VERSION = "choosing", 1
    make = staticmethod(two_steps.make)

    @staticmethod
    def select(read, settings):
        lengths = [len(row["completion"][0]["content"]) for row in read()]
        assert lengths == [len(row["completion"][0]["content"]) for row in read()]

        return SimpleNamespace(
            metrics={"longest": max(lengths)},
            dropped=lambda number: "select:other" if number % 3 else None,
            columns=lambda number: {"length": lengths[number]},
        )


def test_a_selection_sees_all_rows_and_says_of_each_what_becomes_of_it():
    found, stream = made(rows(20), method=Choosing, window_rows=4)
    everything, _ = made(rows(20))
    assert [row["prompt"] for row in found] == [row["prompt"] for row in everything[::3]]
    assert all(row["length"] == len(row["completion"][0]["content"]) for row in found)
    assert stream.counts.rows == 7 and stream.counts.dropped == {"select:other": 13}
    assert stream.metrics == {"longest": max(row["length"] for row in found)}


def test_the_progress_lines_tell_of_each_step():
    seen = []
    made(rows(20), window_rows=5, watch=lambda *now: seen.append(now), num_rows=20)
    assert [done for done, _, _ in seen] == [5, 10, 15, 20]
    draft, revise = seen[-1][2]
    assert draft.startswith("draft: 20 done, 100 % accepted") and "tokens/s" in draft
    assert revise.startswith("revise: 20 done")


def test_a_row_without_a_column_is_named():
    source = [{"id": "a", "prompt": 1}, {"id": "b"}]
    with pytest.raises(synth.SynthesisError, match=r"row 1 has no prompt; this method needs id, p"):
        list(check_rows(source, ("prompt",)))


def test_rows_that_overlap_with_an_evaluation_set_go_with_the_pair_named():
    texts = [(f"eval:{n}:q", f"{'so many words ' * 5} question {n} and more") for n in (3, 4)]
    evaluations = Evaluations(texts)

    def script(messages, sample):
        spoilt = "question 3" in messages[0]["content"]
        return texts[0][1] if spoilt and len(messages) > 1 else "fine"

    settings = Settings(sampling=Sampling())
    stream = Stream(
        two_steps, rows(6), Scripted(script), settings, decontamination=evaluations, window_rows=2
    )
    parts = list(stream)
    kept = [row["id"] for part in parts for row in part.rows]
    assert kept == [f"row {n}" for n in (0, 1, 2, 4, 5)]
    (reject,) = [reject for part in parts for reject in part.rejects]
    assert reject.reason == "contaminated" and reject.source == "row 3"
    assert "in common with eval:3:q" in reject.detail
    assert stream.counts.rows == 5 and stream.counts.dropped == {"contaminated": 1}


def test_rows_that_share_an_id_are_told_and_made_ones_have_their_own():
    twice = [*rows(2), *rows(1)]
    with pytest.raises(synth.SynthesisError, match="two rows have the id 'row 0'"):
        made(twice)
    again = [{**row, "provenance": json.dumps({"row": f"made {n}"})} for n, row in enumerate(twice)]
    settings = Settings(sampling=Sampling())
    parts = list(Stream(two_steps, check_rows(again, ()), Scripted(echo), settings))
    assert [row["id"] for part in parts for row in part.rows] == ["made 0", "made 1", "made 2"]


def test_windows_that_want_the_same_at_once_ask_once():
    asked = Counter()

    @dataclass
    class Slow:
        fingerprint: str = "slow:1"
        follows_schemas: bool = False

        def answer(self, prompts, samples, *, on_answers, **asked_with):
            asked.update(json.dumps(prompt) for prompt in prompts)
            time.sleep(0.05)
            said = [Completion(echo(*pair)) for pair in zip(prompts, samples, strict=True)]
            on_answers(list(enumerate(said)))

    same = [{**row, "prompt": rows(1)[0]["prompt"]} for row in rows(12)]
    found, stream = made(same, Slow(), window_rows=2, windows_at_once=4)
    assert len(found) == 12 and len({row["completion"][0]["content"] for row in found}) == 1
    assert len(asked) == 2 == asked.total()
    assert stream.counts.notes == {"requests/saved": 22, "requests/sent": 2}


def test_an_error_reaches_the_windows_that_wait_for_the_same():
    @dataclass
    class Broken:
        fingerprint: str = "broken:1"
        follows_schemas: bool = False

        def answer(self, prompts, samples, **asked_with):
            time.sleep(0.05)
            raise synth.SynthesisError("no model")

    same = [{**row, "prompt": rows(1)[0]["prompt"]} for row in rows(4)]
    with pytest.raises(synth.SynthesisError, match="no model"):
        made(same, Broken(), window_rows=1, windows_at_once=4)
