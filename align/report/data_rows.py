"""Rows of a built data set, read a few at a time, and chosen by conditions."""

import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.report.read import ReportError

Row = dict[str, Any]

KEPT = ("data.parquet", "prompts.parquet")
REJECTED = "rejected.parquet"

_CONDITION = re.compile(r"(?P<path>[\w.]+)(?P<sign>!=|<=|>=|=|<|>|~)(?P<value>.*)", re.DOTALL)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class DataSet:
    """A parquet file of rows; `manifest` is that of the stage which made it, {} if none did."""

    path: Path
    manifest: dict[str, Any]

    @property
    def num_rows(self) -> int:
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path).metadata.num_rows

    def rows(self) -> Iterator[Row]:
        """All rows, a batch in memory at a time."""
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(self.path).iter_batches(256):
            yield from batch.to_pylist()


def open_data(data: Path, *, rejected: bool = False) -> DataSet:
    """The rows that a stage's folder holds, or a parquet file.

    rejected: what the stage did not use. Raises ReportError if there is no such file.
    """
    if data.is_file():
        return DataSet(data, {})
    names = (REJECTED,) if rejected else KEPT
    found = next((data / name for name in names if (data / name).is_file()), None)
    if found is None:
        what = "rejected rows" if rejected else "rows"
        raise ReportError(
            f"{data}: there are no {what} here; give a stage's folder, as runs/NAME/STAGE, or a "
            "parquet file"
        )
    manifest = data / "manifest.json"
    return DataSet(found, json.loads(manifest.read_text("utf-8")) if manifest.is_file() else {})


def condition(text: str) -> Callable[[Row], bool]:
    """`column=value`, or with !=, <, <=, >, >= or ~ (contains); dots lead into nested columns.

    Columns that hold JSON, such as `provenance`, are looked into. In a list every element is
    tried. Raises ReportError for what is no condition.
    """
    parts = _CONDITION.fullmatch(text)
    if parts is None:
        raise ReportError(
            f"--where {text}: write it as COLUMN=VALUE; also !=, <, <=, >, >=, ~ (contains)"
        )
    path, sign, wanted = parts["path"].split("."), parts["sign"], parts["value"]
    return lambda row: any(_fits(value, sign, wanted) for value in _values(row, path))


def chosen(rows: Iterator[Row], conditions: Sequence[str]) -> Iterator[Row]:
    """Rows that fulfil all conditions."""
    tests = [condition(text) for text in conditions]
    return (row for row in rows if all(test(row) for test in tests))


def provenance(row: Row) -> dict[str, Any]:
    """How the row came to be, {} if it does not say."""
    return json.loads(row.get("provenance") or "{}")


def _values(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _values(item, path)
    elif not path:
        yield value
    else:
        if isinstance(value, str) and value[:1] in ("{", "["):
            value = _json(value)
            if isinstance(value, list):
                yield from _values(value, path)
                return
        if isinstance(value, dict) and path[0] in value:
            yield from _values(value[path[0]], path[1:])


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _fits(value: Any, sign: str, wanted: str) -> bool:
    if sign == "~":
        return wanted in str(value)
    if isinstance(value, bool) or value is None:
        return _SIGNS[sign](str(value).lower(), wanted.lower())
    if isinstance(value, int | float) or sign not in ("=", "!="):
        try:
            return _SIGNS[sign](float(value), float(wanted))
        except ValueError:
            return sign == "!="
    return _SIGNS[sign](str(value), wanted)
