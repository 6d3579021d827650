"""Planted: twelve rows, of which each bad one is translated badly in its own way."""

import json
import re

import pytest

import synth
from synth import cross_lingual
from synth.cross_lingual import Settings, chrf
from synth.flow.stream import Stream
from tests.synth.scripted import Completion, Failure, Sampling, Scripted, last

QUERY = "What does train number {n} cost on a quiet Monday morning, and who may ride it for free?"
ANSWER = (
    "Train {n} costs 12 euros on Mondays; children below 6 years ride it for free at all times."
)
FRAGE = (
    "Was kostet der Zug Nummer {n} an einem ruhigen Montagmorgen, und wer darf umsonst mitfahren?"
)
ANTWORT = "Der Zug {n} kostet montags 12 Euro; Kinder unter 6 Jahren fahren jederzeit umsonst mit."


def data(number: int = 12) -> list[dict]:
    return [
        {
            "id": f"r{n}",
            "prompt": [{"role": "user", "content": QUERY.format(n=100 + n)}],
            "completion": [{"role": "assistant", "content": ANSWER.format(n=100 + n)}],
            "topic": "trains",
        }
        for n in range(number)
    ]


def translator(messages, sample):
    """Good but for rows 1 to 9; of two answers the second one says less."""
    asked = last(messages)
    n = int(re.search(r"1(\d\d)", asked)[1])
    filled = {"n": 100 + n}
    if "should say the same" in messages[0]["content"]:
        differs = (n == 6 and "quiet" in asked) or (n == 9 and "euros" in asked)
        return json.dumps({"difference": "a day" if differs else "none", "same": not differs})
    if "word for word" in messages[0]["content"]:  # back-translation
        if "Zug Nummer" in asked:
            return "Tell me a joke 105" if n == 5 else QUERY.format(**filled)
        said = ANSWER.format(**filled)
        return said if "jederzeit" in asked else said.replace(" at all times", "")
    if "Translate the user message" in asked:
        return {
            1: QUERY.format(**filled),
            2: FRAGE.format(n="hundert"),
            3: Completion(FRAGE.format(**filled), "length"),
            4: Failure("http_500"),
        }.get(n, FRAGE.format(**filled))
    good = ANTWORT.format(**filled)
    worse = good.replace("jederzeit ", "")
    return {7: ANSWER.format(**filled), 8: good.replace("12 Euro", "zwölf Euro")}.get(
        n, worse if sample else good
    )


def settings(**more):
    return {"sampling": Sampling(), "languages": ["de"], "max_failed": 1.0, **more}


def run(script=translator, rows=None, **more):
    rows = data() if rows is None else rows
    return synth.run("cross_lingual", rows, Scripted(script), **settings(**more))


def test_exactly_the_good_come_out_and_each_bad_one_under_its_reason():
    made = run()
    assert [row["id"] for row in made.rows] == ["r0", "r10", "r11"]
    first = made.rows[0]
    assert first["prompt"] == [{"role": "user", "content": FRAGE.format(n=100)}]
    assert first["completion"] == [{"role": "assistant", "content": ANTWORT.format(n=100)}]
    assert (first["language"], first["topic"], first["similarity"]) == ("de", "trains", 1.0)
    assert made.counts.dropped == {
        "answer:changed_parts": 2,  # row 8
        "answer:not_the_best": 3,  # the second answers of the good rows
        "answer:wrong_language": 2,  # row 7
        "answer_same:differs": 2,  # row 9
        "nothing_left": 9 * 2 + 3,  # rows, their languages, and prompts without an answer
        "prompt_back:unlike": 1,  # row 5
        "prompt_same:differs": 1,  # row 6
        "translate:changed_parts": 1,  # row 2
        "translate:failed:http_500": 1,  # row 4
        "translate:truncated": 1,  # row 3
        "translate:wrong_language": 1,  # row 1
    }


def test_windows_and_order_change_nothing():
    chosen = Settings(**settings())
    parts = list(Stream(cross_lingual, data(), Scripted(translator), chosen, window_rows=1))
    assert [row for part in parts for row in part.rows] == run().rows
    backwards = run(rows=data()[::-1]).rows
    assert backwards == run().rows[::-1]


def test_every_message_of_a_dialogue_is_translated_in_its_place():
    rows = data(1)
    rows[0]["prompt"] = [
        {"role": "system", "content": "Answer about train 100 only."},
        *rows[0]["prompt"],
        {"role": "assistant", "content": "Which day? 100"},
        {"role": "user", "content": "Monday, train 100"},
    ]
    seen = []

    def script(messages, sample):
        asked = last(messages)
        if "Translate the" in asked and " message between" in asked:
            role = asked.split("Translate the ")[1].split()[0]
            seen.append(role)
            return f"{len(seen)} 100 " + "и ещё немного слов о поезде и понедельнике"
        if "word for word" in messages[0]["content"]:
            return (
                "\n\n".join(m["content"] for m in rows[0]["prompt"])
                if "1 100" in asked
                else (ANSWER.format(n=100))
            )
        if "should say" in messages[0]["content"]:
            return '{"difference": "none", "same": true}'
        return "Поезд 100 стоит 12 евро по понедельникам, дети до 6 лет едут бесплатно"

    (made,) = run(script, rows, languages=["ru"]).rows
    assert seen == ["system", "user", "assistant", "user"]
    assert [m["role"] for m in made["prompt"]] == seen
    assert [m["content"][0] for m in made["prompt"]] == ["1", "2", "3", "4"]


class Embedder:
    """Maps a text and its translation to near vectors, unless the row is 3."""

    fingerprint = "planted"

    def embed(self, texts):
        return [
            [1.0, 0.1 * ("Zug" in text)] if "103" not in text or "Zug" not in text else [0.0, 1.0]
            for text in texts
        ]


def test_alignment_by_embeddings_needs_no_back_translation():
    def script(messages, sample):
        n = int(re.search(r"1(\d\d)", last(messages))[1])
        is_query = "Translate the user message" in last(messages)
        return (FRAGE if is_query else ANTWORT).format(n=100 + n)

    made = run(script, data(5), alignment="embedding", embedder=Embedder(), samples=1)
    assert [row["id"] for row in made.rows] == ["r0", "r1", "r2", "r4"]
    assert made.counts.dropped == {"nothing_left": 2, "prompt_embedding:unlike": 1}
    assert made.rows[0]["similarity"] == pytest.approx(0.995, abs=1e-3)


def test_chrf_is_that_of_the_paper():
    assert chrf("the cat", "the cat") == 1 == chrf("The  Cat", "thecat")
    assert chrf("", "x") == chrf("abc", "xyz") == 0
    # One n-gram order: 2 of 3 characters agree both ways.
    assert chrf("abc", "abd", order=1) == pytest.approx(2 / 3)
    # Recall counts twice as much: P 1, R 1/2.
    assert chrf("ab", "abcd", order=1) == pytest.approx(5 * 0.5 / (4 + 0.5))
    assert chrf("ab", "abcd") < chrf("abcdefgh", "abcd")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"languages": ["german"]}, "language 'german' is unknown"),
        ({"languages": []}, "give some other than the rows' own"),
        ({"languages": ["en"]}, "give some other than the rows' own"),
        ({"alignment": "embedding"}, "name the model as `embedder`"),
        ({"alignment": "guess"}, "alignment is 'guess'"),
    ],
)
def test_mistakes_are_named(bad, message):
    with pytest.raises(synth.SynthesisError, match=message):
        run(**bad)
