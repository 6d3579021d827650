"""A corpus as people have it: every document that can't be read is told from the others."""

import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from align.stages import sources
from align.stages.job import StageError
from align.stages.sources import Unreadable, source_of


def job(root, **config):
    wanted = {"prompts": None, "data": None, "corpus": None, **config}
    return SimpleNamespace(name="made", config=SimpleNamespace(**wanted), inputs={}, root=root)


def read(root, **config):
    source = source_of(job(root, **config))
    rows = list(source.rows)
    good = [row for row in rows if not isinstance(row, Unreadable)]
    bad = [(row.reason, row.where) for row in rows if isinstance(row, Unreadable)]
    return good, bad, source.num_rows


def test_lines_that_cannot_be_read_are_named_with_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_DOCUMENT_BYTES", 100)
    lines = [
        b'{"text": "one", "id": 7}',
        b'{"text": "\xff\xfe"}',
        b'{"text": "\\ud83d"}',
        b"",
        b"not json",
        b'["a list"]',
        b'{"text": "' + b"x" * 500 + b'"}',
        b'{"text": ""}',
        b'{"text": "two"}',
        b'{"text": "two"}',
    ]
    (tmp_path / "docs.jsonl").write_bytes(b"\n".join(lines))
    good, bad, num_rows = read(tmp_path, corpus="docs.jsonl")
    assert [row["text"] for row in good] == ["one", "", "two"] and num_rows is None
    assert good[0]["id"] == "7" and len(good[1]["id"]) == 16
    assert bad == [
        ("read:not_utf8", "docs.jsonl:2"),
        ("read:not_utf8", "docs.jsonl:3"),
        ("read:not_json", "docs.jsonl:5"),
        ("read:not_json", "docs.jsonl:6"),
        ("read:enormous", "docs.jsonl:7"),
        ("read:duplicate", good[2]["id"]),
    ]


def test_a_folder_of_texts_is_a_document_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_DOCUMENT_BYTES", 100)
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("Ä first", "utf-8")
    (folder / "deep" / "b.md").write_text("second")
    (folder / "c.txt").write_bytes(b"\xff")
    (folder / "d.txt").write_text("x" * 101)
    (folder / ".hidden").write_text("no")
    good, bad, _ = read(tmp_path, corpus="docs")
    assert good == [{"id": "a.txt", "text": "Ä first"}, {"id": "deep/b.md", "text": "second"}]
    assert bad == [("read:not_utf8", "c.txt"), ("read:enormous", "d.txt")]


def test_parquet_rows_are_counted_beforehand(tmp_path):
    pq.write_table(
        pa.Table.from_pylist([{"text": f"{n}"} for n in range(3000)]), tmp_path / "d.parquet"
    )
    good, bad, num_rows = read(tmp_path, data=["d.parquet"])
    assert len(good) == num_rows == 3000 and not bad
    assert len({row["id"] for row in good}) == 3000


def test_the_same_row_has_the_same_id_wherever_it_stands(tmp_path):
    rows = [
        {"prompt": [{"role": "user", "content": c}], "provenance": "my own words"} for c in "abc"
    ]
    ids = []
    for order in (rows, rows[::-1]):
        (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in order))
        good, _, _ = read(tmp_path, data=["d.jsonl"])
        ids.append({row["prompt"][0]["content"]: row["id"] for row in good})
    assert ids[0] == ids[1] and len(set(ids[0].values())) == 3


def test_rows_that_were_made_from_one_prompt_are_different_rows(tmp_path):
    made = [{"id": "p", "text": t, "provenance": json.dumps({"row": t})} for t in ("x", "y", "x")]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    good, bad, _ = read(tmp_path, data=["d.jsonl"])
    assert [row["id"] for row in good] == ["x", "y"] and bad == [("read:duplicate", "x")]


def test_an_empty_folder_is_named(tmp_path):
    (tmp_path / "docs").mkdir()
    with pytest.raises(StageError, match="docs: there is no file in this folder"):
        source_of(job(tmp_path, corpus="docs"))
