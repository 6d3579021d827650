"""Rows that people bring are read with the row and column named where they are wrong."""

import json
from types import SimpleNamespace

import pytest

from align.stages import tables
from align.stages.job import StageError

ROW = {
    "prompt": [{"role": "user", "content": "1 + 1?"}],
    "completion": [{"role": "assistant", "content": "2"}],
}


def job(tmp_path, rows: list[dict]):
    lines = [json.dumps(row) + "\n" for row in rows]
    (tmp_path / "mine.jsonl").write_text("".join(lines))
    config = SimpleNamespace(data=["mine.jsonl"])
    return SimpleNamespace(name="sft", config=config, inputs={}, root=tmp_path)


def test_a_users_own_file_is_training_data(tmp_path):
    assert tables.training_rows(job(tmp_path, [ROW, ROW]), ("prompt", "completion")) == [ROW, ROW]


def test_a_row_without_its_column_is_named(tmp_path):
    rows = [ROW, {**ROW, "completion": []}]
    message = r"mine.jsonl, row 2: the column 'completion' is missing or empty"
    with pytest.raises(StageError, match=message):
        tables.training_rows(job(tmp_path, rows), ("prompt", "completion"))


def test_an_empty_data_set_is_refused(tmp_path):
    with pytest.raises(StageError, match=r"mine\.jsonl holds no rows"):
        tables.training_rows(job(tmp_path, []), ("prompt",))


def test_a_table_keeps_rows_of_different_keys(tmp_path):
    rows = [{"a": 1}, {"a": 2, "b": "x"}]
    tables.write_table(tmp_path / "t.parquet", rows)
    read = tables.read_table(tmp_path / "t.parquet")
    assert read == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_prompts_are_skipped_and_limited_and_never_silently_none(tmp_path):
    tables.write_table(tmp_path / tables.PROMPTS, [{"id": str(i)} for i in range(5)])

    def chosen(skip, limit):
        prompts = SimpleNamespace(source="corpus", skip=skip, limit=limit)
        config = SimpleNamespace(prompts=prompts)
        asked = SimpleNamespace(name="math", config=config, path=lambda _: tmp_path)
        return [row["id"] for row in tables.prompt_rows(asked)]

    assert chosen(1, 2) == ["1", "2"]
    assert chosen(3, None) == ["3", "4"]
    with pytest.raises(StageError, match="skip 5 leaves none of the 5 prompts"):
        chosen(5, None)


def test_parts_become_one_file_whatever_columns_they_have(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_PART_ROWS", 1)
    writer = tables.TableWriter(tmp_path / "data.parquet")
    parts = [[{"a": 1, "b": None}], [{"a": 2.5, "c": [{"x": "y"}]}], [{"b": "text"}]]
    for part in parts:
        writer.add(part)
    writer.close()
    assert tables.read_table(tmp_path / "data.parquet") == [
        {"a": 1.0, "b": None, "c": None},
        {"a": 2.5, "b": None, "c": [{"x": "y"}]},
        {"a": None, "b": "text", "c": None},
    ]
    assert writer.num_rows == 3 and not (tmp_path / "data.parts").exists()


@pytest.mark.parametrize("rows_a_part", [1, 100])
def test_a_column_of_two_types_is_named(tmp_path, monkeypatch, rows_a_part):
    monkeypatch.setattr(tables, "_PART_ROWS", rows_a_part)
    writer = tables.TableWriter(tmp_path / "data.parquet")
    writer.add([{"a": "text"}])
    writer.add([{"a": [1]}])
    with pytest.raises(StageError, match=r"data\.parquet: the rows disagree on a column"):
        writer.close()
