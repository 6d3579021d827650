import csv
import io
import json
import time

import pytest

from verifiers import VerifierError, tables

ROWS = [
    {"City": "Oslo", "People": 709037, "Share": 0.125, "Since": "1048-01-01"},
    {"City": "Bergen", "People": 291940, "Share": 0.0515, "Since": "1070-03-03"},
    {"City": "Hamar, old", "People": 32000, "Share": 0.0056, "Since": None},
]
NAMES = list(ROWS[0])
GRID = [NAMES, *([row[name] for name in NAMES] for row in ROWS)]


def markdown(rows: list[dict], names: list[str] = NAMES) -> str:
    lines = ["| " + " | ".join(names) + " |", "|" + ":---|" * len(names)]
    for row in rows:
        shown = ["" if row[name] is None else str(row[name]) for name in names]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def separated(rows: list[dict], delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, NAMES, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


FORMS = {
    "markdown": markdown(ROWS),
    "csv": separated(ROWS, ","),
    "tsv": separated(ROWS, "\t"),
    "records": json.dumps(ROWS),
    "pretty records": json.dumps(ROWS, indent=2),
    "grid": json.dumps(GRID),
    "columns": json.dumps({name: [row[name] for row in ROWS] for name in NAMES}),
}
REFERENCES = [ROWS, GRID, json.dumps(ROWS), json.dumps(GRID), FORMS["markdown"], FORMS["csv"]]


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_read_in_every_form_against_every_form_of_reference(form: str) -> None:
    text = FORMS[form]
    written = [text, f"Here it is:\n\n{text}", f"Here:\n```{form}\n{text}\n```\nThat is all."]
    for completion in written[: 2 if " " in form or form in ("records", "grid", "columns") else 3]:
        for reference in REFERENCES:
            verdict = tables.verify(completion, reference)
            assert (verdict.correct, verdict.score) == (True, 1.0), (completion, verdict)


def test_a_fenced_table_may_be_named_json() -> None:
    assert tables.verify(f"```json\n{FORMS['records']}\n```\nDone [1].", ROWS).correct


def test_columns_go_by_name_and_rows_by_order_where_it_counts() -> None:
    turned = markdown(ROWS, NAMES[::-1])
    shuffled = markdown(ROWS[::-1])
    assert tables.verify(turned, ROWS).correct
    assert tables.verify(turned.replace("City", "**CITY**"), ROWS).correct
    assert tables.verify(shuffled, ROWS).correct is False
    assert tables.verify(shuffled, ROWS, ordered=False).correct


def test_the_score_is_the_share_of_cells_that_agree() -> None:
    one_wrong = markdown([ROWS[0], ROWS[1] | {"People": 291941}, ROWS[2]])
    assert tables.verify(one_wrong, ROWS).score == pytest.approx(11 / 12)
    assert tables.verify(markdown(ROWS[:2]), ROWS).score == pytest.approx(8 / 12)
    assert tables.verify(markdown([*ROWS, ROWS[0]]), ROWS).score == pytest.approx(12 / 16)
    assert tables.verify(markdown(ROWS, NAMES[:3]), ROWS).score == pytest.approx(9 / 12)
    other_name = markdown(ROWS).replace("People", "Inhabitants")
    assert tables.verify(other_name, ROWS).score == pytest.approx(9 / 12)
    for text in (one_wrong, other_name):
        assert tables.verify(text, ROWS).correct is tables.verify(text, ROWS, ordered=False).correct
        assert tables.verify(text, ROWS).correct is False
    more_columns = [row | {"Mayor": "x"} for row in ROWS]
    assert tables.verify(json.dumps(more_columns), ROWS).score == pytest.approx(12 / 15)


def test_the_last_table_counts() -> None:
    wrong, right = markdown(ROWS[:2]), markdown(ROWS)
    assert tables.verify(f"{wrong}\n\nNo:\n\n{right}\n\nDone.", ROWS).correct
    assert tables.verify(f"{right}\n\nNo:\n\n{wrong}\n\nDone.", ROWS).correct is False
    assert tables.verify(f"<think>\n{wrong}\n</think>\n{right}", ROWS).correct
    assert tables.verify(f"<think>\n{right}", ROWS).correct is False
    code = "```python\nprint('a,b')\nprint('c,d')\n```"
    assert tables.verify(f"{right}\n\n{code}\n\nwhere |x| is a length", ROWS).correct


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("Oslo", "oslo"),
        ("the Netherlands", "Netherlands"),
        ("709,037", 709037),
        ("709 037", "709,037"),
        ("$1,234.50", "1234.5"),
        ("1234.5 \u20ac", "\u20ac1,234.50"),
        ("12.5%", 12.5),
        ("12.5 %", "12.50%"),
        ("\N{MINUS SIGN}3", -3),
        ("-$3", "$-3.00"),
        ("0.3333333", 1 / 3),
        ("1e-07", 1e-7),
        ("1.5e3", 1500),
        ("3 March 2020", "2020-03-03"),
        ("March 3rd, 2020", "2020-03-03"),
        ("Sept 3, 2020", "3 September 2020"),
        ("2020-03-03", "3 Mar. 2020"),
        ("03/04/2020", "03/04/2020"),
        ("\\text{New York}", "New York"),
        ("12.5\\%", "12.5%"),
        ("\\$5", "$5"),
        ("True", True),
        ("0", 0),
    ],
)
def test_cells_that_hold_the_same_are_equal(answer: str, reference: object) -> None:
    for completion in (answer, f"Row 2 says so.\nAnswer: **{answer}**", f"\\boxed{{{answer}}}"):
        assert tables.verify(completion, reference).correct, completion


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("Bergen", "Oslo"),
        ("Oslo or Bergen", "Oslo"),
        ("709038", 709037),
        ("1234568", "1234567"),
        ("12.5%", "$12.5"),
        ("12.5%", 0.125),
        ("3", -3),
        ("--3", 3),
        ("0.333", 1 / 3),
        ("1e-7", 0),
        ("12 34", 1234),
        ("1,23", 123),
        ("5 million", 5),
        ("nan", 1),
        ("3 March 2021", "2020-03-03"),
        ("31 February 2020", "2020-02-31"),
        ("04/03/2020", "03/04/2020"),
        ("9" * 5000, "9" * 4999),
    ],
)
def test_cells_that_hold_something_else_are_not(answer: str, reference: object) -> None:
    assert tables.verify(f"Thus\n#### {answer}", reference).correct is False


def test_missing_values_are_cells_and_not_a_rule() -> None:
    rows = [{"a": 1, "b": 2}, {"a": "-", "b": "-"}]
    assert tables.verify("|a|b|\n|-|-|\n|1|2|\n|-|-|", rows).correct
    assert tables.verify("|a|b|\n|-|-|\n|1|2|", rows).score == 0.5


def test_an_explicit_tolerance_is_for_all_numbers() -> None:
    assert tables.verify("1005", 1000, tolerance=0.01).correct
    assert tables.verify("1005", 1000, tolerance=0.001).correct is False
    assert tables.verify("0.3333333", 1 / 3, tolerance=0).correct is False
    for tolerance in (-1, float("nan"), float("inf"), "1%", True):
        with pytest.raises(VerifierError, match="tolerance is"):
            tables.verify("1", 1, tolerance=tolerance)


@pytest.mark.parametrize(
    "answer",
    ["Oslo, 709,037, 12.5%", '["Oslo", 709037, "12.5%"]', "Oslo; 709037; 12.5%",
     "Oslo | 709037 | 12.5",
     "Oslo,709037,12.5", "Oslo, 709037 and 12.5", "[oslo, 709037, 12.5]",
     "| Oslo | 709037 | 12.5 |"],
)  # fmt: skip
def test_rows_and_columns_are_lists(answer: str) -> None:
    row = ["Oslo", 709037, 12.5]
    for reference in (row, json.dumps(row)):
        assert tables.verify(f"Row 1.\nAnswer: {answer}", reference).correct
    assert tables.verify(f"Answer: {answer}", row[::-1]).score == pytest.approx(1 / 3)
    assert tables.verify(f"Answer: {answer}", row[::-1], ordered=False).correct
    assert tables.verify(f"Answer: {answer}", row[:2], ordered=False).score == pytest.approx(2 / 3)
    assert tables.verify(f"Answer: {answer}", [*row, "x"]).correct is False


def test_lists_under_the_word_answer_may_have_lines_and_numbers() -> None:
    for answer in ("Answer:\n- Oslo\n- Bergen", "**Answer:**\n\n1. Oslo\n2. Bergen\n\nDone."):
        assert tables.verify(answer, ["Oslo", "Bergen"]).correct
        assert tables.verify(answer, ["Oslo", "Bergen", "Hamar"]).score == pytest.approx(2 / 3)
        assert tables.verify(answer, "Oslo").correct is False


def test_lists_in_a_box_may_have_lines_and_members_with_commas() -> None:
    assert tables.verify("\\boxed{1. Oslo\n2. Hamar, old}", ["Oslo", "Hamar, old"]).correct
    assert tables.verify("Answer: Oslo; Hamar, old", ["Oslo", "Hamar, old"]).correct
    assert tables.verify("Answer: 2020", [2020]).correct


@pytest.mark.parametrize(
    "reference",
    ["", None, [], {}, [[]], [["a", "b"]], [{}], [{"a": [1]}], [["a"], ["b", "c"]], [None, ""],
     [["a"], "b"], float("nan"), "{}", object(), "\n\n", "|a|b|\n|-|-|", "text\nof two lines"],
)  # fmt: skip
def test_an_unreadable_reference_is_undecided(reference: object) -> None:
    verdict = tables.verify("#### a", reference)
    assert (verdict.correct, verdict.reason) == (None, "unparsable_reference")


HOSTILE = [
    "", "\x00" * 1000, "\ud800", "What share of people live in Oslo? Give a table.",
    "|" * 1_000_000, "|a|b|\n" * 100_000, "```\n" * 100_000, "a,b\n" * 200_000, "[[" * 500_000,
    "```x\n" * 100_000, '[{"City":' * 100_000, '"' * 1_000_000, "[\n" * 200_000, "x" * 10**8,
    "City,People,Share,Since\n" + "Oslo,1,2,3\n" * 9000, "#### " + "1," * 9000,
    "#### " + " " * 19_000 + "x", "#### " + "1 111" * 3000, "a\tb\n" + "\t" * 90_000,
    "City|People\n" + "\\" * 90_000 + "|", "#### " + "\ufdfa" * 19_000, "- " * 500_000,
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: f"{text[:8]!r}*{len(text)}")
@pytest.mark.parametrize("reference", [ROWS, ["Oslo", "Bergen"], "Oslo", 709037], ids=str)
def test_hostile_text_is_not_right_and_costs_little(hostile: str, reference: object) -> None:
    for ordered in (True, False):
        started = time.process_time()
        assert tables.verify(hostile, reference, ordered=ordered).correct is False
        assert time.process_time() - started < 1.5


def test_a_large_table_is_compared_in_seconds() -> None:
    rows = [{"n": n, "square": n * n, "name": f"row {n}"} for n in range(600)]
    started = time.process_time()
    assert tables.verify(markdown(rows[::-1], ["n", "square", "name"]), rows, ordered=False).correct
    assert time.process_time() - started < 5.0
