"""The texts of evaluation sets, from their files."""

import gzip
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synth.decontamination.rule import MIN_COMMON
from synth.synthesis import SynthesisError
from synth.text.words import words_of

_LINES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")

logger = logging.getLogger(__name__)


def texts_of(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Every string in the rows of the files, after its id `file:line:column`.

    In a parquet file the line is the row, from 1. A column goes on into lists and objects, as in
    `choices.0`. Rows of which no text is long enough to overlap with anything are announced.
    Raises SynthesisError naming the file, and the line, that can't be read, and a file that has
    no text that is long enough.
    """
    num_of_name = Counter(path.name for path in paths)
    for path in paths:
        shown = path.name if num_of_name[path.name] == 1 else str(path)
        num_rows = num_short = 0
        for number, row in _rows(path):
            texts = list(_strings(row))
            num_rows += 1
            num_short += all(len(words_of(text)) < MIN_COMMON for _, text in texts)
            yield from ((f"{shown}:{number}:{column}", text) for column, text in texts)
        if num_short == num_rows:
            raise SynthesisError(
                f"{path}: no text in its {num_rows} rows has {MIN_COMMON} words or more, so none "
                "could ever be found in training data; is this the right file?"
            )
        if num_short:
            logger.warning(
                "%s: %d of %d rows have no text of %d words or more: training data are not "
                "searched for them",
                path,
                num_short,
                num_rows,
                MIN_COMMON,
            )


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    if not path.is_file():
        raise SynthesisError(f"{path}: there is no such file; give files of evaluation sets")
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.name.endswith(_LINES):
        return _json_lines(path)
    raise SynthesisError(f"{path}: evaluation sets are {', '.join(_LINES)} or .parquet files")


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(1024):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        raise SynthesisError(f"{path}: not readable as parquet: {error}") from None


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opened(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"a {type(row).__name__}, not an object")
                yield number, row
    except (ValueError, RecursionError) as error:  # not UTF-8 is a ValueError too
        raise SynthesisError(f"{path}:{number}: not a row in JSON: {error}") from None
    except (OSError, EOFError) as error:
        raise SynthesisError(f"{path}: can't be read after line {number}: {error}") from None


def _strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from _strings(part, f"{name}.{key}" if name else str(key))
