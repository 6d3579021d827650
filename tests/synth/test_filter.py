"""Planted: responses of known worth, and judges that err at stated rates."""

import json
import random
import re
from math import sqrt

import pytest

import synth
from synth import filter as filtering
from synth.filter import Settings
from synth.filter.audit import kappa, metrics
from synth.flow.stream import Stream
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last


def data(number: int, **more) -> list[dict]:
    return [
        {
            "id": f"r{n}",
            "prompt": [{"role": "user", "content": f"question {n} end"}],
            "completion": [{"role": "assistant", "content": f"response {n} end"}],
            **{name: value(n) if callable(value) else value for name, value in more.items()},
        }
        for n in range(number)
    ]


def number_of(messages) -> int:
    return int(re.search(r"response (\d+) end", messages[1]["content"])[1])


def verdict_json(is_flawless: bool) -> str:
    verdict = "flawless" if is_flawless else "flawed"
    return json.dumps({"critique": "I looked at it.", "verdict": verdict})


def score_json(is_flawless: bool, score: int | None = None) -> str:
    return json.dumps({"score": score or (9 if is_flawless else 5), "flawless": is_flawless})


def critic(passes) -> Scripted:
    return Scripted(lambda messages, _: verdict_json(passes(number_of(messages))))


def scorer(passes) -> Scripted:
    return Scripted(lambda messages, _: score_json(passes(number_of(messages))))


def run(rows, engine, judges=(), **settings):
    chosen = {"sampling": Sampling(), "max_failed": 1.0, "judges": judges, **settings}
    return synth.run("filter", rows, engine, **chosen)


CRITIC = {
    1: verdict_json(False),
    2: "It is flawless.",
    3: Completion(verdict_json(True), "length"),
    4: Failure("http_500"),
    8: '{"critique": "", "verdict": "flawless"}',
    9: '{"critique": "Good.", "verdict": "perfect"}',
    10: verdict_json(False),
}
SCORER = {
    5: score_json(False),
    6: score_json(True, 8),
    7: '{"score": 11, "flawless": true}',
    10: "?",
    11: '{"score": "9", "flawless": true}',
}


def planted(messages, sample):
    n = number_of(messages)
    if "critic" in messages[0]["content"]:
        return CRITIC.get(n, verdict_json(True))
    return SCORER.get(n, score_json(True))


def test_only_what_all_find_flawless_stays_and_the_rest_goes_under_its_reason():
    rows = data(14, source="web")
    made = run(rows, Scripted(planted), [Scripted(planted)])
    assert [row["id"] for row in made.rows] == ["r0", "r12", "r13"]
    kept = {name: value for name, value in made.rows[0].items() if name != "provenance"}
    assert kept == {**rows[0], "scores": [9]}
    steps = json.loads(made.rows[0]["provenance"])["steps"]
    assert [record["step"] for record in steps] == ["critic", "scorer_1"]
    assert made.counts.dropped == {
        "critic:flawed": 1,  # row 1
        "critic:undecided": 5,  # rows 2, 3, 4, 8, 9
        "scorer_1:flawed": 2,  # rows 5, 6
        "scorer_1:undecided": 3,  # rows 7, 11, and 10, which the critic calls flawed
    }
    details = {reject.source: reject.detail for reject in made.rejects}
    assert details["r1"] == "critic: flawed, scorer_1: flawless. I looked at it."
    assert details["r7"] == "critic: flawless, scorer_1: undecided. I looked at it."


def test_a_scorer_must_say_so_and_give_the_score():
    def graded(score, is_flawless=True, **settings):
        engine = Scripted(lambda messages, _: score_json(is_flawless, score))
        return len(run(data(1), critic(lambda n: True), [engine], **settings).rows)

    assert [graded(score) for score in (8, 9, 10)] == [0, 1, 1]
    assert graded(10, is_flawless=False) == 0
    assert [graded(score, min_score=7) for score in (6, 7)] == [0, 1]


def test_windows_and_order_change_nothing():
    judges = [Scripted(planted), Scripted(planted)]
    chosen = Settings(sampling=Sampling(), max_failed=1.0, judges=judges)
    stream = Stream(filtering, data(14), Scripted(planted), chosen, window_rows=1)
    parts = list(stream)
    made = run(data(14)[::-1], Scripted(planted), judges)
    assert [row for part in parts for row in part.rows] == made.rows[::-1]
    assert stream.metrics == made.metrics and made.metrics


def erring(rate: float, seed: int, number: int):
    """Whether a judge errs on a row: independently of every other judge."""
    draw = random.Random(seed)
    errs = [draw.random() < rate for _ in range(number)]
    return lambda n: errs[n]


def within(share: float, expected: float, number: int) -> bool:
    """Five standard errors of a binomial share."""
    return abs(share - expected) < 5 * sqrt(expected * (1 - expected) / number)


@pytest.mark.parametrize(("num_judges", "accepts", "rejects"), [(2, 0.3, 0.1), (3, 0.4, 0.2)])
def test_independent_errors_multiply(num_judges, accepts, rejects):
    """Residual error e^n of the flawed rows, and a yield of (1 - d)^n of the flawless."""
    number = 2400
    rows = data(number, flawless=lambda n: n % 3 == 0)
    errs = [
        (erring(accepts, 2 * j, number), erring(rejects, 2 * j + 1, number))
        for j in range(num_judges)
    ]

    def passes(j):
        return lambda n: not errs[j][1](n) if n % 3 == 0 else errs[j][0](n)

    made = run(rows, critic(passes(0)), [scorer(passes(j)) for j in range(1, num_judges)])
    flawless = sum(row["flawless"] for row in made.rows)
    flawed = len(made.rows) - flawless
    assert within(flawed / 1600, accepts**num_judges, 1600)
    assert within(flawless / 800, (1 - rejects) ** num_judges, 800)
    found = made.metrics
    assert found["false_accept/all"] == flawed / 1600
    assert found["false_reject/all"] == pytest.approx(1 - flawless / 800)
    assert abs(found["false_accept/all"] - found["false_accept/independent"]) < 0.05
    assert abs(found["false_reject/all"] - found["false_reject/independent"]) < 0.05
    assert within(found["false_accept/critic"], accepts, 1600)
    assert within(found["false_reject/scorer_1"], rejects, 800)


def test_the_unanimity_of_clones_shows_in_the_metrics():
    number = 600
    errs = erring(0.3, 0, number)
    judges = [scorer(errs), scorer(errs)]
    found = run(data(number, flawless=False), critic(errs), judges).metrics
    assert found["false_accept/all"] == found["false_accept/critic"] == found["yield"]
    assert found["false_accept/independent"] == pytest.approx(found["yield"] ** 3)
    assert found["kappa/critic/scorer_1"] == found["kappa/scorer_1/scorer_2"] == 1.0
    assert "false_reject/all" not in found


def test_yield_by_domain_and_the_domains_that_are_nearly_gone():
    rows = data(40, domain=lambda n: "verse" if n < 10 else "maths/algebra")
    found = run(rows, critic(lambda n: n == 0 or n > 12), min_yield=0.2).metrics
    assert found["yield"] == 28 / 40
    assert found["yield/verse"] == found["below_min_yield/verse"] == 0.1
    assert found["yield/maths/algebra"] == 0.9
    assert "below_min_yield/maths/algebra" not in found


def test_rates_leave_out_what_a_judge_did_not_decide():
    settings = Settings(sampling=Sampling(), judges=[None])
    tallies = {"pattern/?/11": 4, "pattern/?/?1": 2, "pattern/?/01": 1, "pattern/1/1?": 3}
    found = metrics(tallies, settings)
    assert found["yield"] == 0.4
    assert found["undecided_rate/critic"] == 0.2 and found["reject_rate/critic"] == 1 / 8
    assert found["undecided_rate/scorer_1"] == 0.3 and found["reject_rate/scorer_1"] == 0.0
    assert "false_reject/critic" not in found
    assert metrics({}, settings) == {}


def test_kappa_of_a_textbook_table():
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: agreement 0.7, by chance 0.5."""
    patterns = {"11": 20, "10": 5, "01": 10, "00": 15, "1?": 7}
    assert kappa(patterns, 0, 1) == pytest.approx(0.4)
    assert kappa({"10": 5, "01": 5}, 0, 1) == -1.0
    assert kappa({"11": 9}, 0, 1) is None and kappa({"1?": 9}, 0, 1) is None


def test_each_judge_is_asked_once_a_row_and_sees_no_other():
    judges = [scorer(lambda n: False), scorer(lambda n: True)]
    engine = critic(lambda n: False)
    run(data(5), engine, judges)
    assert [one.num_asked for one in (engine, *judges)] == [5, 5, 5]
    assert not [asked for asked in judges[1].asked if "I looked at it" in asked]


def test_the_chinese_prompts_ask_the_same():
    seen = []

    def script(messages, sample):
        seen.append(last(messages))
        return planted(messages, sample) if "结论" not in last(messages) else verdict_json(True)

    made = run(data(1), Scripted(script), [Scripted(script)], language="zh")
    assert len(made.rows) == 1 and "response 0 end" in seen[0] and "question 0 end" in seen[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"min_score": 11}, "min_score is 11"), ({"min_yield": 1.5}, "min_yield is 1.5")],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(synth.SynthesisError, match=message):
        run(data(1), Scripted(planted), **settings)
