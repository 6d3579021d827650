"""Planted: twelve prompts, of which each bad one goes wrong in its own way."""

import json
import math
import re

import pytest

import synth
from synth import constitutional
from synth.constitutional import Settings
from synth.constitutional.comparing import first_is_better, soft_label
from synth.constitutional.constitution import drawn, read
from synth.flow.item import Answer
from synth.flow.stream import Stream
from synth.flow.templates import PROMPTS
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last

LETTERS = {"A": math.log(0.7), " A": math.log(0.1), "B": math.log(0.1), "The": math.log(0.1)}


def data(number: int = 12) -> list[dict]:
    return [
        {
            "id": f"r{n}",
            "prompt": [{"role": "user", "content": f"question {100 + n}, please"}],
            "task": "values",
        }
        for n in range(number)
    ]


def number_of(messages) -> int:
    return int(re.search(r"question 1(\d\d)", "\n".join(m["content"] for m in messages))[1])


def step_of(messages) -> str:
    system = messages[0]["content"]
    for start, step in (
        ("You review", "critique"),
        ("You improve", "revise"),
        ("You write bad", "deviate"),
        ("You check", "check"),
        ("You choose", "compare"),
    ):
        if system.startswith(start):
            return step
    return "draft"


def between_lines(messages) -> list[str]:
    return messages[1]["content"].split("-----\n")[1::2]


def check_json(complies: bool) -> str:
    return json.dumps({"reason": "so it is", "complies": complies})


def model(messages, sample):
    """Answers as it should but for rows 1 to 9. Each revision has one + more."""
    n, step = number_of(messages), step_of(messages)
    bad = {
        (1, "draft"): Completion("I will", "length"),
        (2, "draft"): Failure("http_500"),
        (3, "draft"): " \n",
        (4, "critique"): Completion("It is", "length"),
        (5, "revise"): "<think>\nWhat was wrong, and no end",
        (6, "check"): check_json(False),
        (7, "check"): "It follows them.",
        (8, "deviate"): Completion("Ha", "length"),
    }
    if (n, step) in bad:
        return bad[n, step]
    if step == "draft":
        return f"answer {n}"
    if step == "critique":
        return "It could be kinder."
    if step == "revise":
        response = between_lines(messages)[1].strip()
        return f"<think>\nkinder\n</think>\n\n{response}+"
    if step == "deviate":
        return f"nonsense {n}"
    is_deviation = "nonsense" in between_lines(messages)[2]
    return check_json(n == 9 or not is_deviation)  # 9: the judge finds nothing wrong


def run(script=model, rows=None, **settings):
    chosen = {"sampling": Sampling(), "max_failed": 1.0, "revisions": 3, **settings}
    return synth.run("constitutional", data() if rows is None else rows, Scripted(script), **chosen)


def test_exactly_the_good_revisions_come_out_and_each_bad_one_under_its_reason():
    made = run(keep="last")
    assert [row["id"] for row in made.rows] == ["r0", "r8", "r9", "r10", "r11"]
    (first, *_) = made.rows
    provenance = json.loads(first.pop("provenance"))
    assert first["completion"] == [{"role": "assistant", "content": "answer 0+++"}]
    assert first["prompt"] == data(1)[0]["prompt"] and first["task"] == "values"
    assert first["principles"] == [p.name for p in drawn(read(None), "0:r0")[:3]]
    assert [record["step"] for record in provenance["steps"]] == [
        "draft",
        *["critique", "revise"] * 3,
        "check",
    ]
    assert made.counts.dropped == {
        "check:breaks": 1,  # row 6
        "check:undecided": 1,  # row 7
        "critique:truncated": 1,  # row 4
        "draft:failed:http_500": 1,  # row 2
        "draft:truncated": 1,  # row 1
        "draft:unparsed": 1,  # row 3
        # Rows, and of 4 the draft, of 5 draft and critique, of 6 and 7 all up to the revision.
        "nothing_left": 7 + 1 + 2 + 2 * 7,
        "revise:unparsed": 1,  # row 5
    }
    assert made.metrics == {"revised": 1.0}


def test_the_paper_trains_on_the_revisions_of_all_rounds():
    rows = run(rows=data(1)).rows
    assert [row["completion"][0]["content"] for row in rows] == [
        "answer 0+",
        "answer 0++",
        "answer 0+++",
    ]
    assert [len(row["principles"]) for row in rows] == [1, 2, 3]
    assert len({json.loads(row["provenance"])["row"] for row in rows}) == 3


def test_revisions_that_change_nothing_are_one_row():
    def script(messages, sample):
        if step_of(messages) == "revise":
            return between_lines(messages)[1].strip() + "  "
        return model(messages, sample)

    made = run(script, data(1))
    (only,) = made.rows
    assert only["completion"][0]["content"] == "answer 0" and len(only["principles"]) == 3
    assert made.counts.dropped == {} and made.metrics == {"revised": 0.0}


def test_a_round_that_fails_leaves_the_revisions_before_it():
    def script(messages, sample):
        if step_of(messages) == "critique" and "answer 0++" in last(messages):
            return Completion("It is", "length")
        return model(messages, sample)

    made = run(script, data(1), keep="last")
    assert made.rows[0]["completion"][0]["content"] == "answer 0++"
    assert made.counts.dropped == {"critique:truncated": 1}


def test_pairs_set_the_last_revision_against_a_deviation():
    made = run(output="preference")
    assert [row["id"] for row in made.rows] == ["r0", "r10", "r11"]
    first = made.rows[0]
    assert first["chosen"] == [{"role": "assistant", "content": "answer 0+++"}]
    assert first["rejected"] == [{"role": "assistant", "content": "nonsense 0"}]
    assert first["principle"] == next(p for p in drawn(read(None), "0:r0") if p.avoid).name
    assert made.counts.dropped == {
        "check:breaks": 1,
        "check:undecided": 1,
        "check_deviation:complies": 1,  # row 9
        "critique:truncated": 1,
        "deviate:truncated": 1,  # row 8
        "draft:failed:http_500": 1,
        "draft:truncated": 1,
        "draft:unparsed": 1,
        "nothing_left": 24 + 2 * 8,  # of 8 and 9 all up to the revision
        "revise:unparsed": 1,
        "unpaired": 2,  # the good revisions of 8 and 9
    }


def test_deviations_that_say_the_same_make_one_pair():
    def script(messages, sample):
        if step_of(messages) == "deviate":
            return ["nonsense", "nonsense ", "answer 0+++", "more nonsense"][sample]
        return model(messages, sample)

    made = run(script, data(1), output="preference", deviations=4, check=False)
    assert [row["rejected"][0]["content"] for row in made.rows] == ["nonsense", "more nonsense"]
    assert made.counts.dropped == {"deviate:duplicate": 2}


def test_windows_and_order_change_nothing():
    chosen = Settings(sampling=Sampling(), max_failed=1.0, revisions=3, output="preference")
    parts = list(Stream(constitutional, data(), Scripted(model), chosen, window_rows=1))
    assert [row for part in parts for row in part.rows] == run(output="preference").rows
    backwards = run(rows=data()[::-1], output="preference").rows
    assert backwards == run(output="preference").rows[::-1]


def letters(**probabilities: float) -> Completion:
    return Completion("A", first_logps={k: math.log(p) for k, p in probabilities.items()})


def comparing(messages, sample):
    """Longer is better; on top of that, what stands first gets 0.1 more."""
    n, step = number_of(messages), step_of(messages)
    if step == "draft":
        texts = ["short", "a longer one", "short ", "the longest of all"]
        if n == 1:
            return [*texts[:1], Completion("cut", "length"), *texts[2:3], Failure("http_500")][
                sample
            ]
        return "short" if n == 2 else texts[sample]
    _, a, b = between_lines(messages)
    if n == 3:
        return letters(The=0.9, A=0.04, B=0.03)
    if n == 4:
        return letters(A=0.5, B=0.5)
    if n == 5 and len(a) > len(b):
        return Failure("no_logprobs")
    better = 0.8 if len(a) > len(b) else 0.2
    return letters(A=better + 0.1, B=1 - better - 0.1)


def test_feedback_is_averaged_over_both_orders():
    made = run(comparing, data(6), output="preference", labels="feedback", samples=4)
    (row,) = made.rows
    assert row["id"] == "r0" and row["probability"] == 0.8  # the 0.1 of the place is gone
    assert row["chosen"][0]["content"] == "a longer one"
    assert row["rejected"][0]["content"] == "short"
    assert row["principle"] == drawn(read(None), "0:r0")[0].name
    assert made.counts.dropped == {
        "compare:too_close": 2,  # row 4
        "compare:undecided": 1,  # row 3
        "compare_swapped:undecided": 1,  # row 5
        "nothing_left": 5 + 3,  # rows but 0; the first samples of 3, 4 and 5
        "sample:duplicate": 1 + 1 + 3 + 3,
        "sample:failed:http_500": 1,
        "sample:truncated": 1,
        "unpaired": 8,  # a third sample in 0, 3, 4, 5; the only one in 1, 2; the second in 3, 5
    }


def test_a_judge_that_looks_at_the_place_alone_labels_nothing():
    def script(messages, sample):
        if step_of(messages) == "compare":
            return letters(A=0.9, B=0.1)
        return f"sample {sample}"

    made = run(script, data(3), output="preference", labels="feedback")
    assert made.rows == []
    assert made.counts.dropped == {"compare:too_close": 6, "nothing_left": 6}
    assert made.metrics == {"orders_disagree": 1.0, "first_preferred": 1.0}


def voting(messages, sample):
    if step_of(messages) != "compare":
        return ["short", "a longer one"][sample]
    _, a, b = between_lines(messages)
    if sample == 3:
        return "A, I think"
    honest = "A" if len(a) > len(b) else "B"
    return json.dumps({"reasoning": "thus", "better": "A" if sample == 0 else honest})


@pytest.mark.parametrize(("clamp", "probability"), [(None, 0.8333), (0.6, 0.6)])
def test_without_log_probabilities_the_share_of_the_readable_votes_counts(clamp, probability):
    made = run(
        voting, data(1), output="preference", labels="feedback", votes=4, clamp=clamp, reasks=0
    )
    (row,) = made.rows
    assert row["probability"] == probability  # (1/1 + 2/3) / 2 of the longer one
    assert row["chosen"][0]["content"] == "a longer one"


def test_probabilities_of_the_letters():
    assert first_is_better(Answer("A", "stop", 1, LETTERS)) == pytest.approx(0.8 / 0.9)
    assert first_is_better(Answer("", "stop", 1, {"(B": -0.5})) == 0.0
    for tokens in ({}, {"The": -0.1, "A": -4.0}, {"a": -0.1}, {"AB": -0.1}):
        with pytest.raises(ValueError, match="letters A and B"):
            first_is_better(Answer("A", "stop", 1, tokens))


def test_soft_labels_are_clamped_and_the_undecided_ones_dropped():
    assert soft_label(0.9, 0.6, 0.05) == 0.6
    assert soft_label(0.01, 0.6, 0.05) == pytest.approx(0.4)
    assert soft_label(0.56, 0.6, 0.05) == 0.56
    assert soft_label(0.52, None, 0.05) is None
    assert soft_label(0.52, None, 0.0) == 0.52
    assert soft_label(0.5, None, 0.0) is None


def test_our_constitutions_say_the_same_in_both_languages():
    english, chinese = read(None, "en"), read(None, "zh")
    assert len(english) == 16 and [p.name for p in english] == [p.name for p in chinese]
    assert [bool(p.avoid) for p in english] == [bool(p.avoid) for p in chinese]
    assert read(None, "fr") == english


def test_principles_are_drawn_evenly_and_by_prompt_alone():
    firsts = [drawn(read(None), f"0:r{n}")[0].name for n in range(3200)]
    counts = [firsts.count(principle.name) for principle in read(None)]
    assert all(abs(count - 200) < 5 * math.sqrt(200) for count in counts)
    assert drawn(read(None), "1:r0") != drawn(read(None), "0:r0")


MISTAKES = {
    "- name: a\n  rule: b\n  critque: c\n": r"c.yaml:3: unknown key 'critque'.*mean 'critique'",
    "- name: a\n  rule: b\n  critique: c\n  revision: ''\n": r"c.yaml:4: revision is ''",
    "- name: a\n  rule: 3\n": r"c.yaml:2: rule is 3",
    "\n- name: a\n  rule: b\n": r"c.yaml:2: this principle has no critique, revision",
    "- a\n": r"c.yaml:1: a principle is a mapping",
    "name: a\n": r"c.yaml:1: a constitution is a list",
    "": r"c.yaml:1: a constitution is a list",
    "- name: a\n  rule: [b\n": r"c.yaml:3: this is not YAML",
    "- name: a\n  name: b\n": r"c.yaml:2: this is not YAML: found duplicate key",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_a_constitution_is_named_with_its_line(text, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(synth.SynthesisError, match=MISTAKES[text]):
        run(constitution=path)


def test_a_constitution_must_be_there_and_fit_the_labels(tmp_path):
    with pytest.raises(synth.SynthesisError, match=r"none.yaml can't be read: No such file"):
        run(constitution=tmp_path / "none.yaml")
    path = tmp_path / "c.yaml"
    principle = "- {name: a, rule: b, critique: c, revision: d}\n"
    path.write_text(principle, encoding="utf-8")
    with pytest.raises(synth.SynthesisError, match=r"no principle of .*c\.yaml has `avoid`"):
        run(constitution=path, output="preference")
    made = run(constitution=path, rows=data(1))
    assert [row["principles"] for row in made.rows] == [["a"]] * 3
    path.write_text(2 * principle, encoding="utf-8")
    with pytest.raises(synth.SynthesisError, match=r"c\.yaml:2: there are two principles 'a'"):
        run(constitution=path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 3}, "samples is 3; give an even number"),
        ({"clamp": 0.4}, "clamp is 0.4"),
        ({"min_margin": 0.5}, "min_margin is 0.5"),
        ({"labels": "soft"}, "labels is 'soft'; give one of deviation, feedback"),
        ({"votes": 0}, "votes is 0"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(synth.SynthesisError, match=message):
        run(**settings)


def test_every_prompt_is_there_in_chinese_and_fills():
    names = {path.name.split(".")[0] for path in (PROMPTS / "constitutional").glob("*.en.txt")}
    assert names == {"critique", "revise", "deviate", "check", "compare", "vote"}
    asked = []

    def script(messages, sample):
        asked.append("\n".join(m["content"] for m in messages))
        if "complies" in asked[-1]:
            return check_json("坏" not in asked[-1])
        return "坏" if "反面例子" in asked[-1] else f"回答 {len(asked)}"

    assert run(script, data(1), language="zh", output="preference").rows
    assert not [text for text in asked if "$" in text]
    rounds = drawn(read(None, "zh"), "0:r0")[:3]
    assert all(any(p.critique in text for text in asked) for p in rounds)
