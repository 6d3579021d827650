"""Evaluation sets as files: every text has its place, and what can't be read is named."""

import gzip
import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth import SynthesisError
from synth.decontamination import Evaluations

TEXTS = [" ".join(f"{prefix}{i}" for i in range(13)) for prefix in "abcdef"]


def lines(rows):
    return "\n".join(json.dumps(row) for row in rows).encode() + b"\n"


def where(evaluations, text):
    overlap = evaluations.overlap([text])
    return overlap and overlap.evaluation


def test_every_long_string_of_a_row_is_a_text_with_its_place(tmp_path):
    rows = [
        {"question": TEXTS[0], "answer": "short", "level": 3, "none": None},
        {"question": "short", "choices": ["no", TEXTS[1]], "more": {"hint": TEXTS[2]}},
        {"question": TEXTS[0]},
    ]
    (tmp_path / "plain.jsonl").write_bytes(lines(rows[:1]) + b"\n" + lines(rows[1:]))
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(lines([{"prompt": TEXTS[3]}])))
    table = pa.Table.from_pylist([{"prompt": "short"}, {"prompt": TEXTS[4]}])
    pq.write_table(table, tmp_path / "table.parquet")
    files = ("plain.jsonl", "packed.jsonl.gz", "table.parquet")
    evaluations = Evaluations.read([tmp_path / name for name in files])
    assert len(evaluations) == 5
    assert [where(evaluations, text) for text in TEXTS] == [
        "plain.jsonl:1:question",
        "plain.jsonl:3:choices.1",
        "plain.jsonl:3:more.hint",
        "packed.jsonl.gz:1:prompt",
        "table.parquet:2:prompt",
        None,
    ]


def test_files_of_the_same_name_are_told_apart(tmp_path):
    for folder, text in zip("xy", TEXTS, strict=False):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").write_bytes(lines([{"text": text}]))
    evaluations = Evaluations.read([tmp_path / folder / "test.jsonl" for folder in "xy"])
    assert where(evaluations, TEXTS[1]) == f"{tmp_path}/y/test.jsonl:1:text"


def test_rows_too_short_to_be_found_are_announced(tmp_path, caplog):
    path = tmp_path / "few.jsonl"
    path.write_bytes(lines([{"text": "one"}, {"text": TEXTS[0]}, {"text": "two", "n": 1}]))
    with caplog.at_level(logging.WARNING):
        Evaluations.read([path])
    assert "few.jsonl: 2 of 3 rows have no text of 13 words or more" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent.jsonl", None, "absent.jsonl: there is no such file"),
        ("texts.csv", b"a,b", "texts.csv: evaluation sets are .jsonl"),
        ("bad.jsonl", lines([{"a": TEXTS[0]}]) + b"{", "bad.jsonl:2: not a row in JSON"),
        ("list.json", b'["a"]', "list.json:1: not a row in JSON: a list, not an object"),
        ("latin.jsonl", b'{"a": "\xff"}', "latin.jsonl:1: not a row in JSON"),
        (
            "cut.jsonl.gz",
            gzip.compress(lines([{"a": TEXTS[0]}]), mtime=0)[:-9],
            "cut.jsonl.gz: can't be",
        ),
        ("no.jsonl.gz", b"plain", "no.jsonl.gz: can't be read"),
        ("no.parquet", b"plain", "no.parquet: not readable as parquet"),
        ("short.jsonl", lines([{"a": "x"}] * 4), "short.jsonl: no text in its 4 rows has 13 words"),
        ("empty.jsonl", b"", "empty.jsonl: no text in its 0 rows"),
    ],
)
def test_a_file_that_cannot_serve_is_named(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SynthesisError, match=says):
        Evaluations.read([tmp_path / name])
