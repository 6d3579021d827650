"""Planted: tables whose questions and claims are written and answered well or badly, by title."""

import json
import random
import re

import pytest

import synth
import verifiers
from synth import tables
from synth.flow.stream import Stream
from synth.tables import Settings, query
from synth.tables.corruption import corruptions
from synth.tables.structure import structural
from synth.tables.table import FORMATS, Table, TableError, read_table
from tests.synth.scripted import Completion, Failure, Sampling, Scripted

CITIES = [
    ["City", "Country", "People", "Year"],
    ["Ulm", "Germany", "126,000", "2019"],
    ["Bonn", "Germany", "330,000", "2020"],
    ["Lyon", "France", "522,000", "2021"],
    ["Nice", "France", "342,000", "2022"],
    ["Köln", "Germany", "1,084,000", "2023"],
]


def table(value, max_cells=300) -> Table:
    return read_table(value, max_cells=max_cells)


def ask(sql: str, value=CITIES) -> dict:
    found = table(value)
    (result,) = query.answers([[found.header, found.rows, sql]])
    return result


# --- the method ---

PEOPLE = 'SELECT SUM("People") FROM data WHERE "Country" = \'Germany\''
GOOD = "126,000 + 330,000 + 1,084,000 = 1,540,000. \\boxed{1,540,000}"
OTHER = GOOD.replace("+", "and")
BAD = "I take all cities. \\boxed{2404000}"

MANY = ", ".join(f"data {name}" for name in "abcdefghijkl")
QUESTIONS = {
    "json": "How many people live there?",
    "sql": {"question": "Q", "sql": "SELEC x"},
    "slow": {"question": "Q", "sql": f"SELECT COUNT(*) FROM {MANY}"},
    "constant": {"question": "Q", "sql": "SELECT 1540000"},
    "ties": {"question": "Q", "sql": 'SELECT "City" FROM data WHERE Year > 0 LIMIT 1'},
    "nobody": {"question": "Q", "sql": 'SELECT "City" FROM data WHERE "Country" = \'Spain\''},
    "square": {"question": "Q", "sql": 'SELECT "City", "Year" FROM data'},
    "long": {"question": "Q", "sql": 'SELECT "City" FROM data'},
    "cut": Completion('{"question":', "length"),
    "down": Failure("http_500"),
    "quoted": {"question": "Q", "sql": 'SELECT "Town" FROM data WHERE "Year" = 2020'},
}  # fmt: skip


def examinee(messages, sample):
    """Writes a good question but for the titles in QUESTIONS, and solves it in its own way."""
    asked = "".join(message["content"] for message in messages)
    name = re.search(r"title (\w+)", asked)[1]
    if "SQLite" in asked:
        said = QUESTIONS.get(name, {"question": "How many live in Germany?", "sql": PEOPLE})
        return json.dumps(said) if isinstance(said, dict) else said
    answers = {
        "disputed": [GOOD, OTHER, BAD, BAD],
        "slip": ["126,000 + 330,000 = 465,000. \\boxed{1540000}", GOOD, GOOD, BAD],
        "cut_short": [Completion("126,000 +", "length"), GOOD, GOOD, BAD],
        "same": [GOOD, GOOD.replace(". ", ".  "), OTHER, BAD],
    }
    return answers.get(name, [GOOD, OTHER, "\\boxed{1540000}", BAD])[sample]


def rows(*titles):
    return [{"id": title, "table": CITIES, "title": f"title {title}"} for title in titles]


def run(source, script=examinee, **more):
    settings = {"sampling": Sampling(), "max_failed": 1.0, "tasks": ["question"], "per_task": 1}
    return synth.run("tables", source, Scripted(script), **{**settings, **more})


def test_questions_come_out_with_their_answer_and_each_bad_one_under_its_reason():
    good = ["good", "better", "slip", "cut_short", "same"]
    source = rows(*good, "disputed", *QUESTIONS)
    source.append({"id": "none", "table": "no table", "title": "title none"})
    made = run(source, max_answers=4)
    assert [row["id"] for row in made.rows] == good
    row = made.rows[0]
    assert row["answer"] == "1540000" and row["sql"] == PEOPLE and row["task"] == "question"
    assert row["completion"] == [{"role": "assistant", "content": GOOD}]
    assert "Köln" in row["prompt"][0]["content"] and row["prompt"][0]["role"] == "user"
    assert made.counts.dropped == {
        "equations:wrong": 1,  # of slip
        "nothing_left": (len(QUESTIONS) + 1) * 2,  # tables and their tasks, that of disputed too
        "query:ambiguous": 1,
        "query:empty": 1,
        "query:failed": 1,
        "query:reads_nothing": 1,
        "query:too_long": 1,
        "query:too_slow": 1,
        "query:two_dimensional": 1,
        "query:unknown_column": 1,
        "question:failed:http_500": 1,
        "question:truncated": 1,
        "question:unparsed": 1,
        "solve:disputed": 5,
        "solve:duplicate": 3,  # of slip, cut_short and same
        "solve:over_max": 2 + 2 + 1,  # of good, better and same
        "solve:truncated": 1,
        "table:unreadable": 1,
        "verify:wrong": 5,  # one of each good one
    }
    assert made.metrics == {"right/question": pytest.approx((3 + 3 + 3 + 2 + 3 + 2) / 23)}


def test_windows_and_order_change_nothing():
    source = rows("good", "disputed", "slip", "sql")
    chosen = Settings(sampling=Sampling(), per_task=7)

    def script(messages, sample):
        asked = messages[-1]["content"]
        return "\\boxed{5}" if "How many rows" in asked else examinee(messages, sample)

    expected = run(source, script, tasks=tables.TASKS, per_task=7).rows
    parts = list(Stream(tables, source, Scripted(script), chosen, window_rows=1))
    assert [row for part in parts for row in part.rows] == expected
    backwards = run(source[::-1], script, tasks=tables.TASKS, per_task=7).rows
    of = {
        name: [r for r in expected if r["id"] == name]
        for name in ("sql", "slip", "disputed", "good")
    }
    assert len(of["good"]) == 2 and backwards == [row for rows in of.values() for row in rows]


def test_preference_pairs_are_a_right_and_a_wrong_answer_to_one_question():
    made = run(rows("good", "disputed"), output="preference")
    (row,) = made.rows
    assert row["chosen"][0]["content"] in (GOOD, OTHER, "\\boxed{1540000}")
    assert row["rejected"][0]["content"] == BAD
    assert made.counts.dropped["solve:unpaired"] == 2
    made = run(rows("good"), lambda m, s: GOOD if "boxed" in m[-1]["content"] else examinee(m, s),
               output="preference")  # fmt: skip
    assert not made.rows and made.counts.dropped["solve:no_wrong_answer"] == 1


def test_a_claim_is_kept_where_the_query_says_what_was_asked_for():
    def script(messages, sample):
        asked = messages[-1]["content"]
        if "SQLite" in asked:
            truth = re.search(r"statement that is (True|False)", asked)[1]
            number = int(re.search(r"title c(\d)", asked)[1])
            if number == 5:
                return json.dumps({"claim": "There are cities.", "sql": "SELECT 3 FROM data"})
            if number == 4:
                truth = {"True": "False", "False": "True"}[truth]
            people = {"True": 126000, "False": 127000}[truth]
            sql = f'SELECT "People" = {people} FROM data WHERE "City" = \'ulm\''
            if number == 6:
                sql = f'SELECT "People" + {people} FROM data WHERE "City" = \'ulm\''
            return json.dumps({"claim": f"{people} people live in Ulm.", "sql": sql})
        return f"Ulm: 126,000. \\boxed{{{'126000 people' in asked}}}"

    made = run(rows(*[f"c{n}" for n in range(7)]), script, tasks=["claim"])
    assert [row["id"] for row in made.rows] == ["c0", "c1", "c2", "c3"]
    assert {row["answer"] for row in made.rows} == {"True", "False"}
    for row in made.rows:
        said = row["completion"][0]["content"]
        assert verifiers.get("tables")(said, row["answer"]).correct
        assert verifiers.get("logic")(said, row["answer"]).correct
    assert made.counts.dropped == {
        "nothing_left": 6,
        "query:no_truth_value": 1,
        "query:not_the_truth_asked_for": 1,
        "query:reads_nothing": 1,
        "solve:duplicate": 12,
    }


def test_a_corrupted_cell_and_its_place_must_be_found():
    clean = table(CITIES)

    def script(messages, sample):
        shown = table(json.loads(messages[0]["content"].split("\n\n")[1]))
        ((row, column),) = [
            (r, c)
            for r, cells in enumerate(shown.rows)
            for c, text in enumerate(cells)
            if text != clean.rows[r][c]
        ]
        right = (row + 1, shown.header[column], clean.rows[row][column])
        wrong = [(row + 2, *right[1:]), (row + 1, "Mayor", right[2]), (*right[:2], "x")]
        return "\\boxed{{{}; {}; {}}}".format(*[right, *wrong][sample])

    source = rows("a", "b", "c")
    made = run(source, script, tasks=["correction"], per_task=3, formats=["json"])
    assert len(made.rows) == 9 and made.counts.dropped == {"verify:wrong": 27}
    assert {row["kind"] for row in made.rows} <= {"digit", "typo", "sequence"}
    plain = [{"id": "p", "table": [["a", "b"], ["x", "y"], ["z", "w"]]}]
    made = run(plain, script, tasks=["correction"])
    assert made.counts.dropped == {"correction:nothing_to_find": 1, "nothing_left": 1}


def test_questions_of_structure_are_checked_against_the_table():
    def script(messages, sample):
        asked = messages[0]["content"]
        return "\\boxed{5}" if "How many rows" in asked else "\\boxed{no}"

    made = run(rows("a"), script, tasks=["structure"], per_task=7)
    assert [(row["kind"], row["answer"]) for row in made.rows] == [("num_rows", "5")]
    assert made.counts.dropped["solve:no_right_answer"] == 5
    assert made.counts.dropped["verify:wrong"] == 20


def test_what_the_verifier_reads_is_what_code_computed():
    """Whatever the table, its own answers pass as answers."""
    for seed in range(30):
        rng = random.Random(seed)
        for asked in structural(table([*CITIES, ["Rom", "", "", "2024"]]), 7, rng):
            assert verifiers.tables.verify(f"\\boxed{{{asked.answer}}}", asked.answer).correct
        for one in corruptions(table(CITIES), 4, rng):
            answer = [str(one.row + 1), CITIES[0][one.column], one.right]
            said = "\\boxed{" + "; ".join(answer) + "}"
            assert verifiers.tables.verify(said, json.dumps(answer)).correct


@pytest.mark.parametrize("cell", ["nan", "\\boxed{1}", "{"])
def test_an_answer_that_no_solution_could_be_credited_for_is_no_answer(cell):
    def script(messages, sample):
        return json.dumps({"question": "Q", "sql": "SELECT b FROM data WHERE a = 'x'"})

    made = run([{"id": "t", "table": [["a", "b"], ["x", cell], ["y", "z"]]}], script)
    assert made.counts.dropped == {"answer:unreadable": 1, "nothing_left": 2}


def test_the_chinese_prompts_are_there():
    asked = []

    def script(messages, sample):
        asked.append(messages[-1]["content"])
        return "\\boxed{5}"

    run(rows("good"), script, tasks=tables.TASKS, per_task=4, language="zh")
    assert asked and not [text for text in asked if "step by step" in text]


# --- queries ---


@pytest.mark.parametrize(
    ("sql", "answer", "ordered"),
    [
        ("SELECT COUNT(*) FROM data", "5", True),
        ("SELECT AVG(People) FROM data WHERE Country = 'france'", "432000", True),
        ("SELECT City FROM data WHERE Year > 2021", ["Nice", "Köln"], False),
        ("SELECT City FROM data WHERE Year > 2021 ORDER BY Year DESC", ["Köln", "Nice"], True),
        ("SELECT City, Year FROM data WHERE People < 200000", ["Ulm", "2019"], True),
        ("SELECT City FROM data ORDER BY People DESC LIMIT 1", "Köln", True),
        ("WITH g AS (SELECT Country, SUM(People) AS n FROM data GROUP BY 1) "
         "SELECT Country FROM g ORDER BY n DESC LIMIT 1", "Germany", True),
        ("SELECT ROUND(SUM(People) / 7.0, 2) AS \"mean\" FROM data ORDER BY \"mean\"",
         "343428.57", True),
        ("SELECT 0.1 + 0.2 + 0 * COUNT(*) FROM data", "0.3", True),
    ],
)  # fmt: skip
def test_a_query_answers(sql, answer, ordered):
    assert ask(sql) == {"answer": answer, "ordered": ordered}


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("DROP TABLE data", "failed"),
        ("DELETE FROM data", "failed"),
        ("ATTACH ':memory:' AS other", "failed"),
        ("PRAGMA table_info(data)", "failed"),
        ("SELECT sql FROM sqlite_master", "failed"),
        ("SELECT random() FROM data", "failed"),
        ("SELECT hex(zeroblob(1000000000)) FROM data", "failed"),
        ("SELECT printf('%1000000000d', Year) FROM data", "failed"),
        ("SELECT load_extension('x') FROM data", "failed"),
        ("SELECT COUNT(*) FROM data; DROP TABLE data", "failed"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n",
         "failed"),
        ("SELECT CAST(City AS BLOB) FROM data", "failed"),
        ("SELECT 9e999 * Year FROM data", "failed"),
        ("SELECT 'a\0b'", "failed"),
        ("SELECT " + "1 + " * 2000 + "1", "failed"),
        ("", "reads_nothing"),
        ("SELECT 1 FROM data LIMIT 1", "reads_nothing"),
        ("SELECT Year / 0 FROM data", "empty"),
        ("SELECT MAX(People) FROM data WHERE Year = 1900", "empty"),
        ("SELECT City FROM data LIMIT 1", "ambiguous"),
        ("SELECT City FROM data ORDER BY Country", "ambiguous"),
        ("SELECT group_concat(City) FROM data", "ambiguous"),
        ("SELECT COUNT(*) FROM data WHERE \"Town\" = 'Ulm'", "unknown_column"),
    ],
)  # fmt: skip
def test_a_query_that_gives_no_answer_says_why(sql, word):
    assert ask(sql).get("error", "none") == word


def test_columns_are_stored_as_what_they_hold():
    found = table(
        [
            ["Price", "Day", "Code", "Share", "Mixed"],
            ["$1,200.50", "3 March 2020", "007", "12%", "$5"],
            ["-", "2019-01-02", "012", "7.5%", "5%"],
        ]
    )
    assert found.kinds == ["number", "date", "text", "number", "text"]
    row = "SELECT Price, Day, Code, Share FROM data WHERE Price IS NOT NULL"
    (result,) = query.answers([[found.header, found.rows, row]])
    assert result["answer"] == ["1200.5", "2020-03-03", "007", "12"]


# --- tables ---


@pytest.mark.parametrize(
    "value",
    [
        [["a", "b"], [1, "x|y"], [None, "z"]],
        {"columns": ["a", "b"], "rows": [[1, "x|y"], [None, "z"]]},
        {"a": [1, None], "b": ["x|y", "z"]},
        [{"a": 1, "b": "x|y"}, {"b": "z"}],
        "| a | b |\n|---|:-:|\n| 1 | x\\|y |\n|  | z |",
        "a,b\n1,x|y\n,z",
        "a\tb\n1\tx|y\n\tz",
        '[{"a": 1, "b": "x|y"}, {"b": "z"}]',
    ],
)
def test_a_table_is_read_from_any_form(value):
    assert table(value) == Table(("a", "b"), (("1", "x|y"), ("", "z")))


@pytest.mark.parametrize("style", ["markdown", "csv", "json"])
def test_a_table_that_is_shown_reads_as_itself(style):
    made = table([["a, b", "c|d"], ["x, y", '"q"'], ["", "1|2"], ["u", "v"]])
    assert table(FORMATS[style](made)) == made


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("no table", "unreadable"),
        (3, "unreadable"),
        ([["a", "b"], ["1", "2", "3"], ["4", "5"]], "unreadable"),
        ([["a", "b"], [["x"], "y"], ["z", "w"]], "unreadable"),
        ({"a": [1, 2], "b": [3]}, "unreadable"),
        ([["a", ""], ["1", "2"], ["3", "4"]], "bad_header"),
        ([["a", "A"], ["1", "2"], ["3", "4"]], "bad_header"),
        ([["a", "b"], ["1", "2"]], "too_small"),
        ([["a"], ["1"], ["2"]], "too_small"),
        ([["a", "b"], *[["1", "2"]] * 151], "too_large"),
    ],
)
def test_what_is_no_table_says_why(value, word):
    with pytest.raises(TableError) as raised:
        table(value)
    assert raised.value.word == word


def test_a_corruption_can_be_undone_from_the_rest_of_the_table():
    found = table(
        [
            ["No", "Fruit", "Sold"],
            *[[str(n), f"{['apple', 'lemon'][n % 2]}s", str(30 + n * n)] for n in range(1, 7)],
            ["7", "all", str(sum(30 + n * n for n in range(1, 7)))],
        ]
    )
    seen = set()
    for seed in range(40):
        for one in corruptions(found, 4, random.Random(seed)):
            seen.add(one.kind)
            assert found.rows[one.row][one.column] == one.right != one.wrong
            others = [row[one.column] for n, row in enumerate(found.rows) if n != one.row]
            assert one.wrong not in others
            if one.kind == "typo":
                assert one.right in others and sorted(one.right) == sorted(one.wrong)
            if one.kind == "sum":
                assert one.row == 6 and sum(map(int, others)) == int(one.right)
            if one.kind == "sequence":
                assert one.column == 0 and int(one.right) == one.row + 1
            if one.kind == "digit":
                assert not one.wrong.isdigit() and one.right.isdigit()
    assert seen == {"digit", "typo", "sequence", "sum"}


def test_mistakes_are_named():
    with pytest.raises(synth.SynthesisError, match="tasks has 'claims'; did you mean 'claim'"):
        run([], tasks=["claims"])
    with pytest.raises(synth.SynthesisError, match=r"formats is 'csv'; give a list"):
        run([], formats="csv")
    with pytest.raises(synth.SynthesisError, match="agreement is 2"):
        run([], agreement=2.0)
    with pytest.raises(synth.SynthesisError, match="per_task is 9; give at most 8"):
        run([], per_task=9)
    with pytest.raises(synth.SynthesisError, match="row 0 has no table"):
        run([{"id": "x"}])
