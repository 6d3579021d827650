"""Rows between stages: parquet tables in artifacts, and files or data sets that people bring."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from align.stages.job import Job, StageError

Row = dict[str, Any]

DATA = "data.parquet"  # sft_data and preference_data
REJECTED = "rejected.parquet"  # what a synthesis did not use, and why
PROMPTS, HELDOUT = "prompts.parquet", "heldout.parquet"  # corpus, prompts, reward_model
DOCUMENTS, PROSE = "documents.parquet", "prose_heldout.parquet"  # corpus


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as parquet; keys are the union of the rows' keys."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    pq.write_table(pa.Table.from_pylist([{n: r.get(n) for n in names} for r in rows]), path)


_PART_ROWS = 4096


class TableWriter:
    """Rows to one parquet file in any number of parts, each forgotten once it is written.

    Columns are the union of the parts'; one that is empty in a part takes its type from another.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts = path.with_suffix(".parts")
        shutil.rmtree(self._parts, ignore_errors=True)
        self._parts.mkdir(parents=True)
        self._schemas: list[pa.Schema] = []
        self._waiting: list[Row] = []
        self.num_rows = 0

    def add(self, rows: Sequence[Row]) -> None:
        self._waiting += rows
        self.num_rows += len(rows)
        if len(self._waiting) >= _PART_ROWS:
            self._write_part()

    def _write_part(self) -> None:
        part = self._parts / f"{len(self._schemas)}.parquet"
        with self._disagreement():
            write_table(part, self._waiting)
        self._schemas.append(pq.read_schema(part))
        self._waiting = []

    def discard(self) -> None:
        shutil.rmtree(self._parts)

    def close(self) -> None:
        """Put the parts together. Raises StageError for a column of two different types."""
        if self._waiting:
            self._write_part()
        with self._disagreement():
            schema = pa.unify_schemas(self._schemas, promote_options="permissive")
            with pq.ParquetWriter(self.path, schema) as whole:
                for number in range(len(self._schemas)):
                    part = pq.read_table(self._parts / f"{number}.parquet")
                    missing = [field for field in schema if field.name not in part.column_names]
                    for field in missing:
                        part = part.append_column(field, pa.nulls(len(part), field.type))
                    whole.write_table(part.select(schema.names).cast(schema))
        self.discard()

    @contextmanager
    def _disagreement(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise StageError(f"{self.path.name}: the rows disagree on a column: {error}") from None


def read_table(path: Path) -> list[Row]:
    return pq.read_table(path).to_pylist()


def read_rows(source: str, root: Path, *, subset: str | None = None, split: str = "train") -> list:
    """Rows of a JSONL, JSON-lines or parquet file beside the recipe, or of a hub data set.

    Raises StageError naming the file and line that cannot be read.
    """
    path = root / Path(source).expanduser()
    if path.is_file():
        rows = read_table(path) if path.suffix == ".parquet" else _read_jsonl(path)
    else:
        rows = _read_hub(source, subset, split)
    if not rows:
        raise StageError(f"{source} holds no rows")
    return rows


def _read_jsonl(path: Path) -> list[Row]:
    rows = []
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    rows.append(_parsed(path, number, line))
        except UnicodeDecodeError as error:
            raise StageError(f"{path}: line {len(rows) + 1} is not UTF-8: {error}") from None
    return rows


def _parsed(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise StageError(f"{path}:{number}: this line is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise StageError(f"{path}:{number}: a row is a JSON object, not {type(row).__name__}")
    return row


def _read_hub(source: str, subset: str | None, split: str) -> list[Row]:
    from datasets import load_dataset

    try:
        return load_dataset(source, subset, split=split).to_list()
    except Exception as error:
        raise StageError(
            f"'{source}' is neither a file beside the recipe nor a data set that can be loaded "
            f"from the hub ({type(error).__name__}: {error})"
        ) from None


def training_rows(job: Job, columns: Sequence[str]) -> list[Row]:
    """Rows of all the stage's `data`, with `columns` and what else they hold.

    Raises StageError naming the source and row where a column is missing or empty.
    """
    rows: list[Row] = []
    for source in job.config.data:
        from_stage = source in job.inputs
        found = read_table(job.path(source) / DATA) if from_stage else read_rows(source, job.root)
        for number, row in enumerate(found, 1):
            for column in columns:
                if not row.get(column):
                    raise StageError(
                        f"{source}, row {number}: the column '{column}' is missing or empty; "
                        f"this stage needs {', '.join(columns)}"
                    )
        rows += found
    if not rows:
        raise StageError(f"stage '{job.name}': no rows in {', '.join(job.config.data)}")
    return rows


def prompts_path(job: Job, table: str = PROMPTS) -> Path:
    """The file of prompts that the stage's `prompts` names."""
    wanted = job.config.prompts
    path = job.path(wanted.source) / table
    if not path.is_file():
        raise StageError(f"stage '{wanted.source}' made no {path.stem} prompts for '{job.name}'")
    return path


def prompt_rows(job: Job, table: str = PROMPTS) -> list[Row]:
    """The prompts that the stage's `prompts` names, after `skip` and `limit`."""
    wanted = job.config.prompts
    path = prompts_path(job, table)
    stop = None if wanted.limit is None else wanted.skip + wanted.limit
    rows = read_table(path)
    chosen = rows[wanted.skip : stop]
    if not chosen:
        raise StageError(
            f"stage '{job.name}': skip {wanted.skip} leaves none of the {len(rows)} prompts of "
            f"'{wanted.source}'"
        )
    return chosen
