"""What a synthesis starts from, row by row: prompts, training data, or a corpus of raw material."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from align.stages import tables
from align.stages.job import Job, StageError
from synth.synthesis import provenance_of

MAX_DOCUMENT_BYTES = 64 << 20


@dataclass(frozen=True)
class Unreadable:
    """A document that can't be read. reason: `read:not_utf8`, `read:enormous`, `read:not_json`,
    `read:duplicate`; where: file and line."""

    reason: str
    where: str
    detail: str = ""


@dataclass(frozen=True)
class Source:
    """Rows, each with an `id`, and how many there are where that is known."""

    rows: Iterator[tables.Row | Unreadable]
    num_rows: int | None


def source_of(job: Job) -> Source:
    """The rows of the stage's `prompts`, `data` or `corpus`."""
    config = job.config
    if config.prompts is not None:
        path = tables.prompts_path(job)
        skip, limit = config.prompts.skip, config.prompts.limit
        in_file = pq.ParquetFile(path).metadata.num_rows
        num_rows = max(0, min(in_file - skip, in_file if limit is None else limit))
        if not num_rows:
            raise StageError(
                f"stage '{job.name}': skip {skip} leaves none of the {in_file} prompts of "
                f"'{config.prompts.source}'"
            )
        chosen = itertools.islice(_table(path), skip, skip + num_rows)
        return Source(_identified(chosen), num_rows)
    if config.data is not None:
        found = [_of_stage_or_file(job, name, tables.DATA) for name in config.data]
    else:
        found = [_of_stage_or_file(job, config.corpus, tables.DOCUMENTS)]
    counts = [source.num_rows for source in found]
    total = None if None in counts else sum(counts)
    return Source(_identified(itertools.chain(*(source.rows for source in found))), total)


def _of_stage_or_file(job: Job, name: str, table: str) -> Source:
    if name in job.inputs:
        path = job.path(name) / table
        return Source(_table(path), pq.ParquetFile(path).metadata.num_rows)
    path = job.root / Path(name).expanduser()
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        if not files:
            raise StageError(f"{path}: there is no file in this folder")
        return Source(itertools.chain.from_iterable(_file(f, path) for f in files), None)
    if not path.is_file():
        return Source(iter(tables.read_rows(name, job.root)), None)
    if path.suffix == ".parquet":
        return Source(_table(path), pq.ParquetFile(path).metadata.num_rows)
    return Source(_file(path, path.parent), None)


def _file(path: Path, folder: Path) -> Iterator[tables.Row | Unreadable]:
    """Rows of a JSONL or parquet file; any other file is one document."""
    where = path.relative_to(folder).as_posix()
    if path.suffix == ".parquet":
        yield from _table(path)
    elif path.suffix in (".jsonl", ".json"):
        with path.open("rb") as lines:
            number = 0
            while line := lines.readline(MAX_DOCUMENT_BYTES + 1):
                number += 1
                if len(line) > MAX_DOCUMENT_BYTES:
                    while len(line) > MAX_DOCUMENT_BYTES:  # to the end of the line
                        line = lines.readline(MAX_DOCUMENT_BYTES + 1)
                    yield Unreadable("read:enormous", f"{where}:{number}")
                elif line.strip():
                    yield _parsed(line, f"{where}:{number}")
    elif path.stat().st_size > MAX_DOCUMENT_BYTES:
        yield Unreadable("read:enormous", where, f"{path.stat().st_size} bytes")
    else:
        try:
            yield {"id": where, "text": path.read_bytes().decode()}
        except UnicodeDecodeError as error:
            yield Unreadable("read:not_utf8", where, str(error))


def _parsed(line: bytes, where: str) -> tables.Row | Unreadable:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return Unreadable("read:not_utf8", where, str(error))
    except (ValueError, RecursionError) as error:
        return Unreadable("read:not_json", where, str(error))
    if not isinstance(row, dict):
        return Unreadable("read:not_json", where, f"a {type(row).__name__}, not an object")
    if rb"\ud" in line and not _can_be_written(row):
        return Unreadable("read:not_utf8", where, "it escapes half of a character")
    return row


def _can_be_written(row: dict[str, Any]) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _table(path: Path) -> Iterator[tables.Row]:
    for batch in pq.ParquetFile(path).iter_batches(1024):
        yield from batch.to_pylist()


def _identified(
    rows: Iterator[tables.Row | Unreadable],
) -> Iterator[tables.Row | Unreadable]:
    """Each row with an `id`, and the second of an id goes. It is that of the row itself where a
    synthesis made it (its column `id` is its source's, which others may share), else the column,
    else the hash of what the row says.
    """
    seen: set[bytes] = set()
    for row in rows:
        if not isinstance(row, Unreadable):
            row = {**row, "id": str(provenance_of(row).get("row") or row.get("id") or _hashed(row))}
            known = hashlib.blake2b(row["id"].encode(), digest_size=8).digest()
            if known in seen:
                row = Unreadable("read:duplicate", row["id"])
            seen.add(known)
        yield row


def _hashed(row: dict[str, Any]) -> str:
    content = {name: value for name, value in row.items() if name != "provenance"}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
