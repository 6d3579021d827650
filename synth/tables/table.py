"""A table as people write it: read from many forms, shown in several."""

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from verifiers.cells import Cell, read_cell
from verifiers.strict_json import array_or_object

Kind = Literal["number", "date", "text"]

_PIPE = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r":?-+:?")
_NOTHING = frozenset({"", "-", "\u2013", "\u2014", "n/a"})
_CODE = re.compile(r"0[0-9]")


class TableError(ValueError):
    """No table that can be used; `word` says why, fit for counting."""

    def __init__(self, word: str, detail: str) -> None:
        super().__init__(detail)
        self.word = word


@dataclass(frozen=True)
class Table:
    """Cells are text, with single spaces; an empty one is ""."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, number: int) -> list[str]:
        return [row[number] for row in self.rows]

    @cached_property
    def kinds(self) -> list[Kind]:
        """Of each column: `number` or `date` if all its cells that are not empty read so."""
        return [_kind(self.column(number)) for number in range(len(self.header))]

    def with_cell(self, row: int, column: int, text: str) -> "Table":
        """The table with another text in one cell, both counted from 0."""
        changed = list(self.rows[row])
        changed[column] = text
        return Table(self.header, (*self.rows[:row], tuple(changed), *self.rows[row + 1 :]))


def is_nothing(text: str) -> bool:
    """Whether a cell of numbers or dates stands for no value."""
    return text.casefold() in _NOTHING


def _kind(column: Sequence[str]) -> Kind:
    texts = [text for text in column if not is_nothing(text)]
    cells = [read_cell(text) for text in texts]
    # A leading zero is of a code or telephone number; with two units numbers can't be compared.
    if (
        cells
        and all(cell.number is not None for cell in cells)
        and len({cell.unit for cell in cells} - {""}) < 2
        and not any(map(_CODE.match, texts))
    ):
        return "number"
    return "date" if cells and all(cell.date is not None for cell in cells) else "text"


def read_table(value: Any, *, max_cells: int) -> Table:
    """A table from lists (the header first), `{columns, rows}`, `{name: column}`, records, or
    Markdown, CSV, TSV or JSON text.

    Raises TableError: `unreadable`, `bad_header` (an empty name, or one twice but for case),
    `too_small` (fewer than two rows or columns), `too_large` (more than `max_cells`, header aside).
    """
    header, *rows = _lines(value) or [[]]
    names = tuple(map(_cell, header))
    body = tuple(_row(row, len(names)) for row in rows)
    if not all(names) or len({name.casefold() for name in names}) < len(names):
        raise TableError("bad_header", f"column names are {list(names)!r:.200}")
    if len(body) < 2 or len(names) < 2:
        raise TableError("too_small", f"{len(body)} rows of {len(names)} columns")
    if len(body) * len(names) > max_cells:
        raise TableError("too_large", f"{len(body) * len(names)} cells, at most {max_cells}")
    return Table(names, body)


def _row(cells: Sequence[Any], width: int) -> tuple[str, ...]:
    if len(cells) > width:
        raise TableError("unreadable", f"a row of {len(cells)} cells under {width} columns")
    return (*map(_cell, cells), *[""] * (width - len(cells)))


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple | dict):
        raise TableError("unreadable", f"a cell is a {type(value).__name__}")
    return "" if value is None else " ".join(str(value).split())


def _lines(value: Any) -> list[Sequence[Any]]:
    """The header, then the rows."""
    if isinstance(value, str):
        loaded = array_or_object(value)
        return _lines_of_text(value.strip()) if loaded is None else _lines(loaded)
    if isinstance(value, dict):
        header = value.get("columns", value.get("header"))
        if isinstance(header, list) and isinstance(value.get("rows"), list):
            return _lines([header, *value["rows"]])
        columns = list(value.values())
        if columns and all(isinstance(column, list) for column in columns):
            if len(set(map(len, columns))) > 1:
                raise TableError("unreadable", "its columns are not equally long")
            return [list(value), *zip(*columns, strict=True)]
    if isinstance(value, list) and value and all(isinstance(record, dict) for record in value):
        names = list(dict.fromkeys(name for record in value for name in record))
        return [names, *([record.get(name) for name in names] for record in value)]
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        return value
    raise TableError("unreadable", f"a {type(value).__name__} that is no table: {value!r:.100}")


def _lines_of_text(text: str) -> list[Sequence[Any]]:
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and all("|" in line for line in lines):
        rows = [_markdown_row(line) for line in lines]
        if len(rows) > 1 and all(map(_RULE.fullmatch, rows[1])):
            del rows[1]
        return rows
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    if not lines or delimiter not in lines[0]:
        raise TableError("unreadable", f"neither Markdown nor CSV: {text!r:.100}")
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise TableError("unreadable", f"CSV: {error}") from None


def _markdown_row(line: str) -> list[str]:
    cells = _PIPE.split(line.strip().removeprefix("|").removesuffix("|"))
    return [cell.strip().replace("\\|", "|") for cell in cells]


# --- shown ---


def _markdown(table: Table) -> str:
    rows = (table.header, ["---"] * len(table.header), *table.rows)
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
    )


def _csv(table: Table) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([table.header, *table.rows])
    return stream.getvalue().rstrip("\n")


def _json(table: Table) -> str:
    records = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    return f"[\n{lines}\n]"


def _html(table: Table) -> str:
    def row(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    body = "\n".join(row(cells, "td") for cells in table.rows)
    return f"<table>\n{row(table.header, 'th')}\n{body}\n</table>"


FORMATS: dict[str, Callable[[Table], str]] = {
    "markdown": _markdown,
    "csv": _csv,
    "json": _json,
    "html": _html,
}
"""How a table can be shown, by name."""


def cell_of(text: str) -> Cell:
    """What a cell of a column of numbers or dates holds; an empty one where it stands for none."""
    return read_cell("" if is_nothing(text) else text)
