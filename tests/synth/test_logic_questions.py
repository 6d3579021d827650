"""Planted: one question a seed, written, solved and reasoned well or badly, by the seed's name."""

import json
import re
from collections import Counter

import pytest

import synth
import verifiers
from synth import logic
from synth.flow.stream import Stream
from synth.logic import Settings
from synth.logic.questions import FORMS, REASONINGS
from tests.synth.scripted import Completion, Failure, Sampling, Scripted

RIGHT = "Ada is before Ben, so Ben is second. \\boxed{Ben}"
SHORT = "It is plain. \\boxed{Ben}"
FLAWED = "Ada is tall, so Ben is second. \\boxed{Ben}"
MENDED = "Ada is first, so only Ben is left. \\boxed{Ben}"
WRONG = "Ada came last. \\boxed{Ada}"
NONE = "I can't tell.\n\nSorry, really."
CUT = Completion("Ada is", "length")

WRITTEN = {
    "json": "Who is second?",
    "cut": Completion('{"question"', "length"),
    "down": Failure("http_500"),
    "blank": {"answer": "..."},
}
SOLVED = {
    "disputed": [RIGHT, SHORT, WRONG, WRONG, NONE],
    "untested": [RIGHT, SHORT, NONE, NONE, CUT],
    "wrong": [WRONG] * 5,
    "flawed": [FLAWED, FLAWED.replace("tall", "old"), RIGHT, WRONG, WRONG],
    "mended": [FLAWED, FLAWED, FLAWED, WRONG, WRONG],
    "lost": [FLAWED, FLAWED, FLAWED, WRONG, WRONG],
    "spoilt": [FLAWED, FLAWED, FLAWED, WRONG, WRONG],
    "mute": [RIGHT, RIGHT, RIGHT, WRONG, WRONG],
}
REVISED = {"lost": FLAWED.replace("tall", "old"), "spoilt": WRONG, "flawed": CUT}


def model(messages, sample):
    """Everything about one seed, whose name stands in the question too."""
    asked = "\n".join(message["content"] for message in messages)
    name = re.search(r"seed (\w+)", asked)[1]
    if "You write questions" in asked:
        said = WRITTEN.get(name, {})
        good = {"question": f"seed {name}: who is second?", "working": "so", "answer": "Ben"}
        return json.dumps(good | said) if isinstance(said, dict) else said
    if "Somebody found a flaw" in asked:
        return REVISED.get(name, MENDED)
    if "You check the reasoning" in asked:
        if name == "mute":
            return "Looks fine to me"
        sound = not re.search("Ada is (tall|old)", asked)
        return json.dumps({"step": "", "flaw": "" if sound else "height", "sound": sound})
    return SOLVED.get(name, [RIGHT, SHORT, RIGHT, WRONG, WRONG])[sample]


def rows(*names):
    return [{"id": name, "text": f"seed {name}", "topic": "races"} for name in names]


def run(source, script=model, **more):
    settings = {"sampling": Sampling(), "max_failed": 1.0, "per_seed": 1, "forms": ["open"]}
    return synth.run("logic", source, Scripted(script), **{**settings, **more})


NAMES = ("good", "better", *WRITTEN, *SOLVED)


def test_sound_solutions_come_out_and_each_bad_thing_under_its_reason():
    made = run(rows(*NAMES))
    assert [row["id"] for row in made.rows] == ["good", "better", "mended"]
    row = made.rows[0]
    assert row["prompt"][0]["content"].startswith("seed good: who is second?")
    assert row["completion"] == [{"role": "assistant", "content": RIGHT}]
    assert (row["answer"], row["form"], row["verifier"]) == ("Ben", "open", "logic")
    assert row["topic"] == "races" and "text" not in row and row["choices"] is None
    assert made.rows[2]["completion"][0]["content"] == MENDED
    assert made.counts.dropped == {
        "flaws:undecided": 1,  # mute
        "key:disputed": 1 + 4 + 1 + 5,  # disputed and wrong, with the solutions that give an answer
        "key:untested": 1 + 2,
        "nothing_left": 2 * (4 + 3 + 4),  # seeds and kinds of which no row came
        "question:failed:http_500": 1,
        "question:truncated": 1,
        "question:unparsed": 2,  # json and blank
        "reasoning:flawed": 2 + 2 + 1,  # flawed; lost, with what it was written anew as; spoilt
        "revise:truncated": 2,  # of flawed
        "revise:wrong_answer": 1,  # spoilt
        "solve:duplicate": 1 + 1 + 2 + 2 + 2 + 2,
        "solve:no_right_answer": 4,  # flawed, lost, spoilt, mute
        "solve:over_max": 1 + 1 + 1,  # good and better have two sound ones; flawed a third right
        "solve:truncated": 1,
        "verify:no_answer": 1 + 2,
        "verify:wrong": 2 * 7,
    }
    assert made.metrics == {
        "keys_agreed": pytest.approx(7 / 10),
        "flawed/1": pytest.approx(5 / 9),  # two each of good, better and flawed; mute is undecided
        "flawed/2": pytest.approx(1 / 2),  # mended and lost
    }


def test_more_rounds_mend_more_and_one_mends_nothing():
    rewrites = iter([FLAWED.replace("tall", "old"), MENDED])

    def script(messages, sample):
        if "Somebody found a flaw" in messages[-1]["content"]:
            return next(rewrites)
        return model(messages, sample)

    made = run(rows("lost"), script, rounds=3)
    assert made.rows[0]["completion"][0]["content"] == MENDED
    steps = [step["step"] for step in json.loads(made.rows[0]["provenance"])["steps"]]
    assert Counter(steps) == {
        "question": 1, "solve": 1, "verify": 1, "flaws": 3, "revise": 4,
    }  # fmt: skip
    assert not run(rows("mended"), rounds=1).rows


def test_a_preference_is_sound_over_wrong_or_flawed():
    made = run(rows("good", "mended", "mute"), output="preference", pairs_per_prompt=3)
    pairs = [(row["id"], row["chosen"], row["rejected"]) for row in made.rows]
    assert {(name, a[0]["content"], b[0]["content"]) for name, a, b in pairs} == {
        ("good", RIGHT, WRONG),
        ("good", SHORT, WRONG),
        ("mended", MENDED, WRONG),
        ("mended", MENDED, FLAWED),
    }
    made = run(rows("x"), lambda m, s: RIGHT if "boxed" in m[-1]["content"] else model(m, s),
               output="preference")  # fmt: skip
    assert made.counts.dropped["solve:no_wrong_answer"] == 1


def test_one_judge_of_several_that_finds_a_flaw_is_enough():
    def script(messages, sample):
        if "You check the reasoning" in messages[0]["content"]:
            return json.dumps({"step": "", "flaw": "no", "sound": sample != 2})
        return model(messages, sample)

    assert run(rows("good"), script, judge_samples=2).rows
    assert not run(rows("good"), script, judge_samples=3).rows


def test_windows_and_order_change_nothing():
    expected = run(rows(*NAMES)).rows
    chosen = Settings(sampling=Sampling(), max_failed=1.0, per_seed=1, forms=["open"])
    parts = list(Stream(logic, rows(*NAMES), Scripted(model), chosen, window_rows=1))
    assert [row for part in parts for row in part.rows] == expected
    backwards = run(rows(*NAMES)[::-1]).rows
    assert backwards == expected[::-1]


def test_rows_come_in_the_order_of_their_seeds_whatever_their_form():
    def script(messages, sample):
        asked = "\n".join(message["content"] for message in messages)
        if "You check the reasoning" in asked:
            return '{"step": "", "flaw": "", "sound": true}'
        if "You write questions" not in asked:
            return "So. \\boxed{True}" if "statement" in asked else "So. \\boxed{Ben came first}"
        said = {"question": f"Who is first, {len(asked)}?", "working": "so"}
        if "right answer is" in asked:
            said["answer"] = re.search(r"right answer is: (\w+)", asked)[1]
        elif "options" in asked:
            said |= {"options": OPTIONS, "answer": "B"}
        else:
            said["answer"] = "Ben came first"
        return json.dumps(said)

    source = [{"id": str(n), "text": f"seed {n}"} for n in range(9)]
    made = run(source, script, forms=FORMS, per_seed=6).rows
    assert {row["form"] for row in made} == set(FORMS)
    assert [int(row["id"]) for row in made] == sorted(int(row["id"]) for row in made)
    chosen = Settings(sampling=Sampling(), per_seed=6)
    parts = list(Stream(logic, source, Scripted(script), chosen, window_rows=2))
    assert [row for part in parts for row in part.rows] == made


OPTIONS = ["Ada came first", "Ben came first", "Cleo came first", "Dan came first"]


def examiner(options=OPTIONS, answer="B"):
    def script(messages, sample):
        asked = "\n".join(message["content"] for message in messages)
        if "You write questions" in asked:
            said = {
                "question": "Who is first?",
                "options": options,
                "working": "",
                "answer": answer,
            }
            return json.dumps(said | {"working": "so"})
        if "You check the reasoning" in asked:
            return '{"step": "", "flaw": "", "sound": true}'
        place = re.search(r"([A-D])\. Ben came first", asked)[1]
        other = "ABCD".replace(place, "")[0]
        return [
            f"It is he. \\boxed{{{place}}}",
            f"Ben. The answer is ({place}).",
            f"It is Ben. \\boxed{{{place}. Ben came first}}",
            f"Not Ben. \\boxed{{{other}}}",
            f"\\boxed{{{other}. Ben came first}}",
        ][sample]

    return script


def test_options_are_put_in_another_order_with_their_key():
    source = [{"id": str(n), "text": f"seed {n}"} for n in range(60)]
    made = run(source, examiner(), forms=["choice"])
    assert len(made.rows) == 60
    for row in made.rows:
        assert row["choices"]["ABCD".index(row["answer"])] == "Ben came first"
        assert sorted(row["choices"]) == sorted(OPTIONS)
        said = row["completion"][0]["content"]
        verifier = verifiers.get(row["verifier"])
        assert verifier(said, row["answer"], choices=row["choices"]).correct
    assert min(Counter(row["answer"] for row in made.rows)[letter] for letter in "ABCD") >= 5
    assert made.counts.dropped["verify:contradictory_answer"] == 60


@pytest.mark.parametrize(
    "options",
    [
        ["Ada", "Ben", "the Ben.", "Cleo"],
        ["Ada", "Ben", "Cleo", "All of the above"],
        ["Ada", "Ben", "Cleo", "Both A and B"],
        ["A. Ada", "B. Ben", "C. Cleo", "D. Dan"],
        ["甲", "乙", "丙", "以上都对"],
        ["Ada", "Ben", "Cleo"],
    ],
)
def test_options_that_need_their_order_are_not_read(options):
    made = run(rows("x"), examiner(options), forms=["choice"])
    assert made.counts.dropped == {"question:unparsed": 1, "nothing_left": 2}


def test_ordinary_options_are_read():
    options = ["Ben came first", "None of the boats sank", "It lay above the roof", "A or nothing"]
    assert len(run(rows("x"), examiner(options, "A"), forms=["choice"]).rows) == 1


def test_a_statement_has_the_truth_value_that_was_asked_for():
    def script(messages, sample):
        asked = "\n".join(message["content"] for message in messages)
        if "You write questions" in asked:
            truth = re.search(r"right answer is: (\w+)", asked)[1]
            number = int(re.search(r"seed (\d+)", asked)[1])
            told = {"True": "False", "False": "Unknown", "Unknown": "True"}
            answer = told[truth] if number % 4 == 0 else truth
            return json.dumps({"question": f"It is {truth}", "working": "so", "answer": answer})
        if "You check the reasoning" in asked:
            return '{"step": "", "flaw": "", "sound": true}'
        return f"So. \\boxed{{{re.search('It is (.*)', asked)[1]}}}"

    source = [{"id": str(n), "text": f"seed {n}"} for n in range(40)]
    made = run(source, script, forms=["truth"], reasonings=["deduction"])
    assert len(made.rows) == 30 and made.counts.dropped["question:another_truth"] == 10
    assert set(Counter(row["answer"] for row in made.rows)) == {"True", "False", "Unknown"}
    made = run(source, script, forms=["truth"], reasonings=["causal"])
    assert set(Counter(row["answer"] for row in made.rows)) == {"True", "False"}


def test_a_number_is_compared_as_one():
    def script(messages, sample):
        asked = "\n".join(message["content"] for message in messages)
        if "You write questions" in asked:
            return json.dumps({"question": "How many?", "working": "so", "answer": "1,200"})
        if "You check the reasoning" in asked:
            return '{"step": "", "flaw": "", "sound": true}'
        return "So. \\boxed{1200}"

    (row,) = run(rows("x"), script).rows
    assert row["verifier"] == "math"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_seed_gets_each_pair_of_form_and_reasoning_once(language):
    asked = []

    def script(messages, sample):
        asked.append(messages[-1]["content"])
        return Failure("none")

    run(rows("x"), script, forms=FORMS, per_seed=15, language=language)
    kinds = [(text[:30], re.search(r"(?:kind|第) (\d)", text)[1]) for text in asked]
    assert len(set(kinds)) == len(FORMS) * len(REASONINGS) == len(kinds)


def test_the_same_question_twice_is_one():
    def script(messages, sample):
        return examiner()(messages, sample)

    made = run(rows("x"), script, forms=["choice"], per_seed=3)
    assert made.counts.dropped["question:duplicate"] == 2


def test_mistakes_are_named():
    with pytest.raises(synth.SynthesisError, match="forms has 'choise'; did you mean 'choice'"):
        run([], forms=["choise"])
    with pytest.raises(synth.SynthesisError, match="reasonings is 'causal'; give a list"):
        run([], reasonings="causal")
    with pytest.raises(synth.SynthesisError, match=r"agreement is 1.0; give a share below 1"):
        run([], agreement=1.0)
    with pytest.raises(synth.SynthesisError, match=r"min_votes is 3; give at most samples \(2\)"):
        run([], samples=2)
    with pytest.raises(synth.SynthesisError, match="row 0 has no text"):
        run([{"id": "x"}])
