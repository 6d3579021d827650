"""Planted: documents of which half are no texts, and a model that spoils every query in its way."""

import re

import pytest

import synth
from synth import back_translation
from synth.back_translation import (
    Settings,
    names_length,
    names_text,
    round_number,
    score_of,
)
from synth.flow.item import Answer
from synth.flow.stream import Stream
from synth.text.documents import cut_to, overlap_words, problem_of
from synth.text.words import words_of
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last


def story(number: int, words: int = 150) -> str:
    names = ["harbour", "lantern", "winter", "keeper", "signal", "tide", "gull", "storm"]
    told = [names[(number * 7 + i * i) % len(names)] for i in range(words - 2)]
    return f"Tale {number}. " + " ".join(told) + "."


def documents() -> list[dict]:
    rows = [{"id": f"d{n}", "text": story(n), "source": "books"} for n in range(12)]
    bad = {
        "empty": "  \n ",
        "short": "Too short to learn from.",
        "binary": "\x00\x01\ufffd" * 500,
        "table": "12;34;56;78;" * 100,
        "enormous": story(99, 9000),
    }
    rows += [{"id": name, "text": text} for name, text in bad.items()]
    return [*rows, {"id": "missing", "title": "no text"}]


def tale(messages) -> int:
    return int(re.search(r"[Tt]ale (\d+)", "\n".join(m["content"] for m in messages))[1])


def model(messages, sample):
    """Queries of tales 0 to 2 are good; those of 3 to 11 are spoilt, each in its own way."""
    asked, number = last(messages), tale(messages)
    if "Rate the pair" in asked:
        if number == 8:
            return "Score: 4 of what? Score: 5" if sample else Failure("timeout")
        score = {7: 3, 1: 5 - (sample == 2)}.get(number, 5)
        return f"It answers all of it.\nScore: {score}"
    good = f"Write tale {number} about a harbour, in about 150 words, for grown-ups."
    return {
        3: "  ",
        4: f"Write tale 4. {story(4)[8:150]} in 150 words",
        5: Completion(good, "length"),
        6: "Write tale 6 about a harbour in about 1,500 words.",
        9: Failure("http_500"),
        10: "Continue the text above, tale 10, in about 150 words.",
        11: f"<think>{good}",
    }.get(number, good)


def settings(**more):
    found = {"sampling": Sampling(), "max_failed": 1.0, "details": ["brief", "detailed"]}
    return {**found, "max_characters": 20_000, **more}


def run(rows=None, script=model, **more):
    rows = documents() if rows is None else rows
    return synth.run("back_translation", rows, Scripted(script), **settings(**more))


def test_exactly_the_good_come_out_and_each_bad_one_under_its_reason():
    made = run()
    assert [(row["id"], row["detail"]) for row in made.rows] == [
        (f"d{n}", detail) for n in (0, 1, 2) for detail in ("brief", "detailed")
    ]
    first = made.rows[2]
    assert first["completion"] == [{"role": "assistant", "content": story(1)}]
    assert first["prompt"][0]["content"].startswith("Write tale 1 about")
    assert first["score"] == pytest.approx(14 / 3, abs=1e-3) and first["source"] == "books"
    assert made.counts.dropped == {
        "curate:low_score": 2,  # 7
        "curate:undecided": 2,  # 8
        "nothing_left": 9 + 18,  # tales 3 to 11, and their two levels of detail
        "query:copies": 2,  # 4
        "query:failed:http_500": 2,  # 9
        "query:names_text": 2,  # 10
        "query:no_length": 2,  # 6
        "query:truncated": 2,  # 5
        "query:unparsed": 4,  # 3, and 11, whose thoughts do not end
        "text:control_characters": 1,
        "text:empty": 1,
        "text:missing": 1,
        "text:not_prose": 1,
        "text:too_long": 1,
        "text:too_short": 1,
    }


def test_windows_and_order_change_nothing():
    chosen = Settings(**settings())
    parts = list(Stream(back_translation, documents(), Scripted(model), chosen, window_rows=1))
    assert [row for part in parts for row in part.rows] == run().rows
    backwards = run(documents()[::-1]).rows
    assert sorted(map(str, backwards)) == sorted(map(str, run().rows))


def test_the_thoughts_of_a_model_and_judge_are_no_part_of_what_they_say():
    def script(messages, sample):
        if "Rate the pair" in last(messages):
            return "<think>At first sight:\nScore: 2\nbut no.</think>It fits.\nScore: 5"
        return "<think>Of 150 words, I think.</think>\n\nWrite tale 0 in 150 words."

    made = run([documents()[0]], script, details=["brief"], reasks=0)
    assert made.rows[0]["prompt"] == [{"role": "user", "content": "Write tale 0 in 150 words."}]


@pytest.mark.parametrize(
    ("said", "query"),
    [
        ('"Write a tale."', "Write a tale."),
        ("\u201cWrite a tale.\u201d", "Write a tale."),
        ('Write a tale called "The Sea"', 'Write a tale called "The Sea"'),
        ('"The Sea" is to be a tale like "The Land"', '"The Sea" is to be a tale like "The Land"'),
    ],
)
def test_quotation_marks_go_only_from_around_the_whole_query(said, query):
    made = run([documents()[0]], lambda m, s: "Score: 5" if "Rate" in last(m) else said,
               details=["brief"], length=False)  # fmt: skip
    assert made.rows[0]["prompt"][0]["content"] == query


@pytest.mark.parametrize(
    "query",
    ["Go on from the text above.", "Retell this passage.", "Sum up the provided article.",
     "According to the text, who is the keeper?", "根据上文写一个故事。"],
)  # fmt: skip
def test_talk_of_a_text_that_nobody_has_seen_is_found(query):
    assert names_text(query)


@pytest.mark.parametrize(
    "query",
    ["Write the text of a leaflet.", "Write a letter; this text should be short.",
     "Retell the passage of the Beagle.", "Write an article on Texts of Joy."],
)  # fmt: skip
def test_talk_of_the_text_that_is_wanted_is_not(query):
    assert not names_text(query)


def test_of_several_queries_the_best_scored_one_stays():
    def script(messages, sample):
        if "Rate the pair" in last(messages):
            return f"Score: {5 if 'number 2' in last(messages) else 4}"
        return f"Write tale 0, number {sample + 1}, in 150 words"

    made = run([documents()[0]], script, samples=3, details=["medium"], min_score=4)
    (only,) = made.rows
    assert "number 2" in only["prompt"][0]["content"] and only["score"] == 5
    assert made.counts.dropped == {"curate:not_the_best": 2}


def test_a_long_text_can_be_cut_and_a_system_prompt_tells_where_it_is_from():
    made = run([documents()[16]], too_long="cut", system="Answer like a web page.", length=False)
    row = made.rows[0]
    assert row["prompt"][0] == {"role": "system", "content": "Answer like a web page."}
    assert len(row["completion"][0]["content"]) <= 20_000


def test_the_length_is_asked_for_in_round_numbers():
    seen = []

    def script(messages, sample):
        seen.append(last(messages))
        return Failure("http_500")

    run([documents()[0]], script)
    assert "about 150 words" in seen[0] and "It is to be brief" in seen[0]
    run([documents()[0]], script, length=False)
    assert "words." not in seen[-1].split("-----")[-1]
    run([documents()[0]], script, language="zh")
    assert "大约 150 字" in seen[-1]
    assert [round_number(n) for n in (3, 12, 187, 1234, 5678, 12345)] == [
        10, 10, 200, 1200, 5700, 12000
    ]  # fmt: skip


def test_a_length_counts_if_it_is_near():
    assert names_length("in about 1,200 words", 1234) and names_length("150字左右", 140)
    assert not names_length("in 100 words", 150) and not names_length("briefly", 150)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Score: 4", 4),
        ("It is fine.\n**Score:** 5/5", 5),
        ("好。\n分数：3", 3),
        ("score: 1.", 1),
    ],
)
def test_a_score_is_read_from_its_line(text, score):
    assert score_of(Answer(text, "stop", 1, {})) == score


@pytest.mark.parametrize(
    "text", ["", "Fine.", "4", "Score: 6", "Score: 4.5", "Score: 4\nScore: 5", "Score: 45"]
)
def test_anything_else_is_no_score(text):
    with pytest.raises(ValueError, match=r"there should be one|it says nothing"):
        score_of(Answer(text, "stop", 1, {}))


def test_texts_are_told_from_what_is_none():
    assert problem_of("A plain sentence, with 3 numbers.") is None
    assert problem_of("这是一句话。") is None
    assert problem_of(None) == "missing" and problem_of(" ") == "empty"
    assert problem_of("a" * 50 + "\x07") == "control_characters"
    assert problem_of("| 1 | 2 | 3 |") == "not_prose"


def test_a_cut_is_at_the_end_of_a_paragraph_or_sentence():
    paragraph = "One sentence. Two sentences."
    assert cut_to(f"{paragraph}\n\n{paragraph}", 40) == paragraph
    assert cut_to(f"{paragraph} Three more words", 40) == paragraph
    assert cut_to("word " * 20, 42) == ("word " * 8).strip()
    assert cut_to("x" * 100, 42) == "x" * 42


def test_the_longest_run_of_words_in_common():
    assert overlap_words("the old man and the sea", "a tale: the old Man, and a boat") == 4
    assert overlap_words("", "a") == overlap_words("a", "b") == 0
    assert overlap_words("一条大河", "有一条大河流过") == 4
    assert words_of("It's 3 天") == ["it", "s", "3", "天"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"details": ["short"]}, "give some of brief, medium, detailed"),
        ({"details": ["brief", "brief"]}, "each once"),
        ({"min_score": 5.5}, "min_score is 5.5; give at most 5"),
        ({"min_characters": 30_000}, "min_characters 30000 is above max_characters 20000"),
        ({"language": "fr"}, "no prompt 'query' in language 'fr'; there are en, zh"),
    ],
)
def test_mistakes_are_named(bad, message):
    with pytest.raises(synth.SynthesisError, match=message):
        run(**bad)
