from dataclasses import dataclass

import pytest

from align.errors import AlignError
from align.evaluate import accuracy, wilson
from align.generate import Completion, Sampling


@dataclass(frozen=True)
class Verdict:
    correct: bool | None
    reason: str


class Parrot:
    """Answers a prompt with its own text; "..." at the end means that it was cut off."""

    fingerprint = "parrot"

    def generate(self, prompts, *, n, sampling, seed, on_progress=None):
        texts = [prompt[-1]["content"] for prompt in prompts]
        if on_progress:
            on_progress(len(texts), len(texts), len(texts))
        return [
            [Completion(text, (1,), (0.0,), "length" if text.endswith("...") else "stop")]
            for text in texts
        ]


def verify(completion, reference, *, unsure=False, **columns):
    if unsure:
        return Verdict(None, "time-out")
    return Verdict(completion == reference, "compared")


def row(number, says, answer, **columns):
    prompt = [{"role": "user", "content": says}]
    return {"id": str(number), "prompt": prompt, "answer": answer, **columns}


ROWS = [
    row(0, "4", "4", task="sum"),
    row(1, "5", "4", task="sum"),
    row(2, "7...", "7...", task="product"),
    row(3, "6", "6", task="product", unsure=True),
    row(4, "8", "8", task="product"),
]


def evaluate(rows, **settings):
    return accuracy(Parrot(), rows, verify, sampling=Sampling(), seed=0, **settings)


def test_each_outcome_is_counted_and_undecided_ones_are_in_no_fraction():
    scores = evaluate(ROWS)
    counted = {name: scores[name] for name in ("right", "wrong", "truncated", "undecided")}
    assert counted == {"right": 2, "wrong": 1, "truncated": 1, "undecided": 1}
    assert scores["n"] == 4
    assert scores["accuracy"] == 0.5
    assert (scores["low"], scores["high"]) == wilson(2, 4)
    assert scores["undecided_reasons"] == {"time-out": 1}


def test_a_cut_off_answer_is_wrong_even_where_its_text_would_pass():
    scores = evaluate([ROWS[2]])
    assert (scores["accuracy"], scores["truncated"]) == (0.0, 1)


def test_tasks_are_scored_apart_and_add_up():
    tasks = evaluate(ROWS)["tasks"]
    assert tasks["sum"]["accuracy"] == 0.5
    assert tasks["product"]["accuracy"] == 0.5
    assert tasks["sum"]["n"] + tasks["product"]["n"] == 4
    assert evaluate([row(0, "4", "4")])["tasks"] == {}


def test_every_problem_has_a_sample():
    samples = evaluate(ROWS)["samples"]
    assert [s["id"] for s in samples] == ["0", "1", "2", "3", "4"]
    assert samples[1]["completion"] == "5"
    assert [s["outcome"] for s in samples] == ["right", "wrong", "truncated", "undecided", "right"]


def test_nothing_decided_is_no_accuracy():
    scores = evaluate([ROWS[3]])
    assert scores["accuracy"] is None
    assert (scores["low"], scores["high"]) == (0.0, 1.0)


def test_no_prompts_is_an_error():
    with pytest.raises(AlignError, match="no prompts"):
        evaluate([])


def test_progress_is_the_engines():
    seen = []
    evaluate(ROWS, on_progress=lambda *p: seen.append(p))
    assert seen == [(5, 5, 5)]
