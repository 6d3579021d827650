"""Planted: dialogues, and system prompts of which some are no good, each bad in its own way."""

import json
import re
import time
from collections import Counter
from statistics import mean, pvariance

import pytest

import synth
from synth import system_prompts
from synth.flow.stream import Stream
from synth.system_prompts import Settings, axes
from synth.system_prompts.quality import score_metrics
from synth.system_prompts.writing import near_duplicates
from synth.text.languages import NAMES
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last

AXES = """
forms: [one paragraph]
axes:
  tone: [dry, warm, formal, playful, calm, blunt, curious, modest]
"""
TONES = ("dry", "warm", "formal", "playful", "calm", "blunt", "curious", "modest")


def data(number: int = 14) -> list[dict]:
    return [
        {
            "id": f"r{n}",
            "prompt": [{"role": "user", "content": f"query {n} end"}],
            "completion": [{"role": "assistant", "content": f"reference {n}"}],
            "language": "source column",
        }
        for n in range(number)
    ]


@pytest.fixture
def seeds(tmp_path):
    path = tmp_path / "axes.yaml"
    path.write_text(AXES)
    return path


def settings(seeds, **more):
    chosen = {"system_prompts": 8, "min_wishes": 1, "max_wishes": 1, "per_row": 1, **more}
    return {"sampling": Sampling(), "max_failed": 1.0, "reasks": 0, "seeds": seeds, **chosen}


def run(seeds, script, rows=None, **more):
    rows = data() if rows is None else rows
    return synth.run("system_prompts", rows, Scripted(script), **settings(seeds, **more))


def verdict(**more) -> str:
    return json.dumps({"reason": "why", "follows": True, "answers": True, "score": 9, **more})


def written(messages):
    """The tone that a system prompt is asked for; None for other requests."""
    found = re.search(r"^- tone: (\w+)$", last(messages), re.MULTILINE)
    return found and found[1]


def step_of(messages) -> str:
    if messages[0]["content"].startswith(("You are to be", "You, too")):
        return "respond"
    start = messages[0]["content"].split()[1]
    return {"write": "write", "check": "fit", "judge": "consistency"}[start]


def good(tone: str) -> str:
    return f"You are to be {tone} in all that you say to the user, whatever the question may be."


def number_of(messages) -> int:
    return int(re.search(r"query (\d+) end", last(messages))[1])


def well(messages, sample):
    """A model and judge that do everything right."""
    step = step_of(messages)
    if step == "write":
        return good(written(messages))
    if step == "respond":
        return f"response {number_of(messages)}"
    return '{"conflict": "none", "fits": true}' if step == "fit" else verdict()


PLANTED = {
    ("fit", 1): '{"conflict": "both", "fits": false}',
    ("fit", 2): '{"conflict": "both"}',
    ("respond", 3): Completion("respo", "length"),
    ("respond", 4): Failure("http_500"),
    ("respond", 5): "<think>I had better say nothing</think>",
    ("consistency", 7): verdict(follows=False),
    ("consistency", 8): verdict(answers=False),
    ("consistency", 9): verdict(score=6),
    ("consistency", 10): verdict(score=11),
}


def planted(messages, sample):
    """Rows 1 to 10 go wrong, each in its own way."""
    step = step_of(messages)
    if step == "respond" and number_of(messages) == 6:
        return "I was told this: " + messages[0]["content"]
    place = (step, number_of(messages)) if step != "write" else None
    return PLANTED.get(place) or well(messages, sample)


def test_exactly_the_good_come_out_and_each_bad_one_under_its_reason(seeds):
    made = run(seeds, planted)
    assert [row["id"] for row in made.rows] == ["r0", "r11", "r12", "r13"]
    assert made.counts.dropped == {
        "consistency:ignores_system_prompt": 1,  # row 7
        "consistency:low_score": 1,  # row 9
        "consistency:no_answer": 1,  # row 8
        "consistency:undecided": 1,  # row 10
        "fit:contradiction": 1,  # row 1
        "fit:undecided": 1,  # row 2
        # The rows 1 to 10, and where there was to be a response the dialogue under a system prompt.
        "nothing_left": 10 + 8,
        "respond:failed:http_500": 1,  # row 4
        "respond:recites": 1,  # row 6
        "respond:truncated": 1,  # row 3
        "respond:unparsed": 1,  # row 5
    }


def test_a_row_is_the_dialogue_under_a_system_prompt_with_its_story(seeds):
    first = run(seeds, well).rows[0]
    (tone,) = [wish.removeprefix("tone: ") for wish in first["wishes"]]
    assert first["prompt"] == [
        {"role": "system", "content": good(tone)},
        {"role": "user", "content": "query 0 end"},
    ]
    assert first["completion"] == [{"role": "assistant", "content": "response 0"}]
    assert (first["score"], first["language"]) == (9, "source column")
    steps = json.loads(first["provenance"])["steps"]
    assert [step["step"] for step in steps] == ["write", "fit", "respond", "consistency"]
    assert steps[0]["said"] == good(tone)


def bad_set(messages, sample):
    """Four of the eight system prompts can't be used, one of them as it is like another."""
    tone = written(messages)
    bad = {
        "dry": Completion("You", "length"),
        "warm": Failure("http_500"),
        "formal": "Be formal. " * 200,
        "playful": good("calm").replace("You are", "You, too, are"),
    }
    return bad.get(tone) or well(messages, sample)


def test_system_prompts_that_are_no_good_are_counted_where_a_row_would_have_had_them(seeds):
    made = run(seeds, bad_set, per_row=4)
    assert len(made.rows) == 4 * 14  # every row finds the four that are good
    tones = Counter(row["wishes"][0] for row in made.rows)
    assert set(tones.values()) == {14} and len(tones) == 4
    assert len({"tone: playful", "tone: calm"} & tones.keys()) == 1
    assert sorted(made.counts.dropped) == [
        "write:failed:http_500",
        "write:near_duplicate",
        "write:truncated",
        "write:unparsed",
    ]
    made = run(seeds, bad_set, per_row=5)
    assert len(made.rows) == 4 * 14 and set(made.counts.dropped.values()) == {14}
    assert {k: v for k, v in made.metrics.items() if k.startswith("set/")} == {
        "set/failed:http_500": 1,
        "set/near_duplicate": 1,
        "set/truncated": 1,
        "set/unparsed": 1,
        "set/usable": 4,
    }


def test_without_a_usable_system_prompt_no_row_is_lost_in_silence(seeds):
    made = run(seeds, lambda m, s: Completion("Yo", "length"), data(3))
    assert made.rows == []
    assert made.counts.dropped == {"nothing_left": 3, "write:truncated": 24}


def test_the_set_is_written_once_however_many_windows_run_at_once(seeds):
    def slowly(messages, sample):
        if step_of(messages) == "write":
            time.sleep(0.005)  # so that other windows come while the first one writes
        return planted(messages, sample)

    engine = Scripted(slowly)
    chosen = Settings(**settings(seeds, per_row=2))
    going = Stream(system_prompts, data(), engine, chosen, window_rows=1)
    rows = [row for part in going for row in part.rows]
    expected = run(seeds, planted, per_row=2)
    assert rows == expected.rows
    assert (going.counts.dropped, going.metrics) == (expected.counts.dropped, expected.metrics)
    asked = Counter(written(messages) for messages, _ in map(json.loads, engine.asked.elements()))
    del asked[None]
    assert asked == dict.fromkeys(TONES, 1)
    backwards = run(seeds, planted, data()[::-1], per_row=2).rows
    assert sorted(map(str, backwards)) == sorted(map(str, rows))


def test_system_prompts_are_spread_over_the_rows_and_stay_with_them(seeds):
    few, many = run(seeds, well, data(20)).rows, run(seeds, well, data(400)).rows
    assert many[:20] == few
    uses = Counter(row["system_prompt"] for row in many)
    assert len(uses) == 8 and min(uses.values()) > 25  # of 50; 25 is four standard deviations away


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ([], "row:no_query"),
        ([{"role": "user", "content": "  "}], "row:no_query"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "row:no_query"),
        ([{"role": "system", "content": "s"}, *data(1)[0]["prompt"]], "row:own_system"),
    ],
)
def test_rows_that_have_no_place_for_a_system_prompt(seeds, prompt, reason):
    assert run(seeds, well, [{**data(1)[0], "prompt": prompt}]).counts.dropped == {reason: 1}


def test_a_system_prompt_of_the_rows_own_can_be_replaced_and_is_not_shown(seeds):
    shown = []

    def script(messages, sample):
        shown.append(str(messages))
        return well(messages, sample)

    rows = data(1)
    rows[0]["prompt"].insert(0, {"role": "system", "content": "Talk like a pirate"})
    (row,) = run(seeds, script, rows, own_system="replace").rows
    assert [m["role"] for m in row["prompt"]] == ["system", "user"]
    assert not any("pirate" in text for text in shown)
    assert rows[0]["prompt"][0]["content"] == "Talk like a pirate"


def test_the_best_of_several_responses_is_kept_by_the_mean_of_the_votes(seeds):
    scores = {"a": (7, 8), "b": (9, 8), "c": (10, 6)}

    def script(messages, sample):
        if step_of(messages) == "respond":
            return "abc"[sample] + "-response"
        if step_of(messages) == "consistency":
            return verdict(score=scores[re.search(r"^([abc])-", last(messages), re.M)[1]][sample])
        return well(messages, sample)

    made = run(seeds, script, data(1), samples=3, votes=2)
    (row,) = made.rows
    assert (row["completion"][0]["content"], row["score"]) == ("b-response", 8.5)
    assert made.counts.dropped == {"consistency:not_the_best": 2}


def test_half_of_the_votes_do_not_accept_a_response(seeds):
    def script(messages, sample):
        if step_of(messages) == "consistency":
            return verdict(follows=bool(sample), score=10)
        return well(messages, sample)

    made = run(seeds, script, data(1), votes=2)
    assert made.counts.dropped["consistency:ignores_system_prompt"] == 1
    assert len(run(seeds, script, data(1), votes=3).rows) == 1


def test_another_model_judges_where_one_is_named(seeds):
    judge, engine = Scripted(well, fingerprint="judge:1"), Scripted(well)
    synth.run("system_prompts", data(3), engine, **settings(seeds, judge=judge))
    assert (judge.num_asked, engine.num_asked) == (6, 8 + 3)


def test_responses_in_the_wrong_language_are_told_by_code(seeds):
    seeds.write_text("forms: [f]\naxes: {tone: [{text: deutsch, language: de}]}", encoding="utf-8")
    german = "Der Zug fährt am Montag um acht Uhr ab, und Kinder fahren an jedem Tag umsonst mit."
    english = "The train leaves on Monday at eight, and children may ride it for free on all days."

    def script(messages, sample):
        if step_of(messages) == "respond":
            number = number_of(messages)
            return (german, english, f"{german}\n```\n{english * 5}\n```")[number]
        return well(messages, sample)

    made = run(seeds, script, data(3), system_prompts=1)
    assert [row["id"] for row in made.rows] == ["r0", "r2"]
    assert made.counts.dropped == {"nothing_left": 2, "respond:wrong_language": 1}


def test_variance_of_quality_over_system_prompts_is_as_by_hand():
    groups = {3: [8, 8, 5], 5: [4], 9: [10, 7]}
    tallies = {}
    for number, scores in groups.items():
        tallies[f"scores/{number}"] = len(scores)
        tallies[f"sum/{number}"] = sum(scores)
        tallies[f"squares/{number}"] = sum(score**2 for score in scores)
    found = score_metrics(tallies)
    everything = [score for scores in groups.values() for score in scores]
    means = [mean(scores) for scores in groups.values() for _ in scores]
    assert found["score/mean"] == mean(everything) == 7
    assert found["score/variance"] == pytest.approx(pvariance(everything))
    assert found["score/variance_between"] == pytest.approx(pvariance(means)) == 27 / 12
    assert found["score/variance_within"] == pytest.approx(found["score/variance"] - 27 / 12)
    # Mean squares 13.5/2 and 10.5/3; n0 = (6 - 14/6) / 2.
    assert found["score/variance_of_prompts"] == pytest.approx((6.75 - 3.5) / (11 / 6))
    assert (found["score/worst"], found["score/worst_prompt"]) == (4, 5)
    assert (found["score/best"], found["score/best_prompt"]) == (8.5, 9)


def test_metrics_count_every_response_that_was_judged_also_the_rejected(seeds):
    def script(messages, sample):
        if step_of(messages) == "consistency":
            return verdict(score=3) if "to be dry" in last(messages) else verdict(score=8)
        return well(messages, sample)

    made = run(seeds, script, data(2), per_row=8)
    assert len(made.rows) == 14 and made.counts.dropped["consistency:low_score"] == 2
    found = made.metrics
    assert (found["score/worst"], found["score/best"]) == (3, 8)
    assert found["score/variance_within"] == 0
    # Each prompt always has the same score: all variance is theirs, here of a sample of eight.
    assert found["score/variance_of_prompts"] == pytest.approx(25 / 8)
    assert found["score/variance_between"] == pytest.approx(25 * 7 / 64)
    assert score_metrics({}) == {}
    assert "score/variance_of_prompts" not in score_metrics(
        {"scores/1": 1, "sum/1": 5, "squares/1": 25}
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_our_axes_are_covered_evenly_and_without_contradictions(language):
    ours = axes.read(None, language)
    few, many = (axes.combinations(ours, number, 2, 4, 5) for number in (100, 600))
    assert many[:100] == few
    assert len({one.wishes for one in many}) == 600
    assert not any(pair <= set(one.wishes) for one in many for pair in ours.contradictions)
    assert all(2 <= len(one.wishes) <= 4 for one in many)
    assert {one.form for one in few} == set(ours.forms)
    for axis, values in ours.values.items():
        uses = Counter(dict(one.wishes)[axis] for one in many if axis in dict(one.wishes))
        assert set(uses) == set(values)
        assert min(uses.values()) > 0.8 * max(uses.values())
    assert all(code in NAMES for code in ours.languages.values())


def test_without_contradictions_no_value_comes_twice_more_than_another(seeds):
    seeds.write_text("forms: [f]\naxes: {a: [u, v, w], b: [x, y], c: [p, q, r, s]}")
    found = axes.combinations(axes.read(seeds), 11, 1, 3, 0)
    for axis in "abc":
        uses = Counter(dict(one.wishes)[axis] for one in found if axis in dict(one.wishes))
        assert max(uses.values()) - min(uses.values()) <= 2
    assert len(axes.combinations(axes.read(seeds), 24, 3, 3, 0)) == 24  # each of 3 * 2 * 4
    with pytest.raises(synth.SynthesisError, match="system_prompts is 25, and the axes gave 24"):
        axes.combinations(axes.read(seeds), 25, 3, 3, 0)


def test_near_duplicates_are_told_by_runs_of_three_words():
    a = "one two three four five six seven"  # 5 runs
    b = "One, two, three, four, five, six, eight"  # shares 4 of 6
    assert near_duplicates((a, None, b), 0.6) == {2: 0}
    assert near_duplicates((a, None, b), 0.7) == {}
    assert near_duplicates(("be brief", "Be brief!", "be kind"), 1.0) == {1: 0}
    # Only what is kept counts: c is like b alone, and b is gone.
    c = "two three four five six eight nine"
    assert near_duplicates((a, b, c), 0.6) == {1: 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axes: [", ":1: this is not YAML"),
        ("forms: [f]", "give a mapping `axes`"),
        ("axes: {a: [x]}", "forms is None; give a list of texts"),
        ("forms: [f]\naxes: {a: []}", r"axes.a is \[\]; give a list of texts"),
        ("forms: [f]\naxes: {a: [x, x]}", "'x' is no text, or is there twice"),
        ("forms: [f]\naxes: {a: [7]}", "7 is no text"),
        ("forms: [f]\naxes: {a: [{text: x, language: german}]}", "a known `language`"),
        ("forms: [f]\naxes: {tone: [x]}\nform: 1", "unknown key 'form'; did you mean 'forms'"),
        (
            "forms: [f]\naxes: {tone: [x], b: [y]}\ncontradictions: [{tome: x, b: y}]",
            "unknown axis 'tome'; did you mean 'tone'",
        ),
        (
            "forms: [f]\naxes: {tone: [x], b: [y]}\ncontradictions: [{tone: z, b: y}]",
            "'tone' has no value 'z'",
        ),
        ("forms: [f]\naxes: {a: [x]}\ncontradictions: [{a: x}]", "two axes or more"),
    ],
)
def test_mistakes_in_the_file_of_axes_are_named(seeds, text, message):
    seeds.write_text(text)
    with pytest.raises(synth.SynthesisError, match=message):
        run(seeds, well)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"max_wishes": 2}, "at most the number of axes, 1"),
        ({"min_wishes": 0}, "min_wishes is 0"),
        ({"per_row": 9}, "per_row 9 is above system_prompts 8"),
        ({"system_prompts": 9}, "the axes gave 8 combinations"),
        ({"max_similarity": 1.5}, "max_similarity is 1.5"),
        ({"min_score": 11.0}, "min_score is 11.0"),
        ({"own_system": "keep"}, "own_system is 'keep'"),
    ],
)
def test_mistakes_are_named(seeds, bad, message):
    with pytest.raises(synth.SynthesisError, match=message):
        run(seeds, well, **bad)


def test_a_file_of_axes_that_is_not_there_is_named(tmp_path):
    with pytest.raises(synth.SynthesisError, match=r"none.yaml can't be read"):
        run(tmp_path / "none.yaml", well)
