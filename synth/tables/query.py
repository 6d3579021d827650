"""What a query says of a table: SQL that a model wrote, run by SQLite in memory.

A query can only read the one table. It runs no functions but those named here, all of them
functions of their arguments alone, and is stopped after a number of steps, so the same query ends
the same way on any machine. It is run on the rows in both orders: an answer that depends on the
order, such as the first of several that are tied, is none.
"""

import math
import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from synth.tables.table import Kind, Table, cell_of

NAME = "data"
"""Of the table, in SQL."""

FUNCTIONS = (
    *("abs", "avg", "ceil", "coalesce", "count", "dense_rank", "floor", "group_concat", "ifnull"),
    *("iif", "instr", "lag", "lead", "length", "like", "lower", "ltrim", "max", "min", "nullif"),
    *("rank", "replace", "round", "row_number", "rtrim", "sqrt", "substr", "sum", "total", "trim"),
    "upper",
)
MAX_STEPS = 2_000_000
"""Of SQLite's virtual machine; some tens of milliseconds."""

_STEPS_AT_ONCE = 1000
# Texts are skipped whole; an alias is declared behind `AS`.
_QUOTED = re.compile(
    r"""'(?:[^']|'')*+'|(?P<alias>\bas\s+)?"(?P<name>(?:[^"]|"")*+)"|.""", re.I | re.S
)
_MAX_SQL_CHARS = 4000
_MAX_TEXT_BYTES = 20_000
_MAX_PATTERN_CHARS = 200
_MAX_ROWS = 1000
_TYPES: dict[Kind, str] = {"number": "NUMERIC", "date": "TEXT", "text": "TEXT COLLATE NOCASE"}


class QueryError(ValueError):
    """The query gives no answer; `word` says why, fit for counting."""

    def __init__(self, word: str, detail: str = "") -> None:
        super().__init__(detail)
        self.word = word


def schema(table: Table) -> str:
    """The table's CREATE TABLE statement."""
    columns = ", ".join(
        f"{_quoted(name)} {_TYPES[kind]}"
        for name, kind in zip(table.header, table.kinds, strict=True)
    )
    return f"CREATE TABLE {NAME} ({columns})"


def answers(queries: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Of each `[header, rows, sql]`: `{"answer", "ordered"}`, or `{"error", "detail"}`.

    answer: a text, or a list of texts. ordered: whether the order of a list means something.
    Errors: `failed`, `too_slow`, `unknown_column`, `reads_nothing`, `empty` (no rows, or no value
    in one), `ambiguous` (it depends on the order of the rows), `two_dimensional`.
    """
    results = []
    for header, rows, sql in queries:
        table = Table(tuple(header), tuple(map(tuple, rows)))
        try:
            answer, ordered = _answer(table, sql)
            results.append({"answer": answer, "ordered": ordered})
        except QueryError as error:
            results.append({"error": error.word, "detail": str(error)})
    return results


def _answer(table: Table, sql: str) -> tuple[str | list[str], bool]:
    _check_names(table, sql)
    found = _run(table, sql)
    other = _run(Table(table.header, table.rows[::-1]), sql)
    if not found:
        raise QueryError("empty", "no rows")
    has_order = "order by" in " ".join(sql.casefold().split())
    if found != other and (has_order or sorted(found) != sorted(other)):
        raise QueryError("ambiguous", f"{found!r:.80}, or {other!r:.80} of the rows reversed")
    if len(found) == 1:
        (row,) = found
        return (row[0] if len(row) == 1 else row), True
    if len(found[0]) > 1:
        raise QueryError("two_dimensional", f"{len(found)} rows of {len(found[0])} columns")
    return [row[0] for row in found], has_order


def _check_names(table: Table, sql: str) -> None:
    """SQLite takes `"Citty"` for a text where there is no such column."""
    found = [
        (m["name"].replace('""', '"').casefold(), m["alias"])
        for m in _QUOTED.finditer(sql)
        if m["name"] is not None
    ]
    known = {name.casefold() for name in (NAME, *table.header)} | {n for n, alias in found if alias}
    unknown = next((name for name, _ in found if name not in known), None)
    if unknown is not None:
        raise QueryError("unknown_column", f"there is no column {unknown!r:.80}")


def _run(table: Table, sql: str) -> list[list[str]]:
    guard = _Guard()
    connection = sqlite3.connect(":memory:")
    try:
        _fill(connection, table)
        connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _MAX_SQL_CHARS)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_TEXT_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, _MAX_PATTERN_CHARS)
        connection.set_authorizer(guard.allows)
        connection.set_progress_handler(guard.is_too_slow, _STEPS_AT_ONCE)
        found = connection.execute(sql).fetchmany(_MAX_ROWS)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:  # ValueError: a null character
        word = "too_slow" if guard.steps > MAX_STEPS else "failed"
        raise QueryError(word, str(error)) from None
    finally:
        connection.close()
    if not guard.has_read:
        raise QueryError("reads_nothing", "it does not look at the table")
    return [[_text(value) for value in row] for row in found]


def _fill(connection: sqlite3.Connection, table: Table) -> None:
    connection.execute(schema(table))
    marks = ", ".join("?" * len(table.header))
    rows = [
        [_value(cell, kind) for cell, kind in zip(row, table.kinds, strict=True)]
        for row in table.rows
    ]
    connection.executemany(f"INSERT INTO {NAME} VALUES ({marks})", rows)


def _value(text: str, kind: Kind) -> Any:
    if kind == "text":
        return text or None
    cell = cell_of(text)
    if cell.date is not None:
        return cell.date.isoformat()
    if cell.number is None:
        return None
    is_whole = cell.number == cell.number.to_integral_value() and abs(cell.number) < 2**63
    return int(cell.number) if is_whole else float(cell.number)


def _text(value: Any) -> str:
    """Ten digits of a number: more of them are the order that it was summed in."""
    if value is None or value == "":
        raise QueryError("empty", "a value is missing")
    if isinstance(value, bytes):
        raise QueryError("failed", "a value is binary")
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        raise QueryError("failed", f"a value is {value}")
    rounded = float(f"{value:.10g}")
    return str(int(rounded)) if rounded.is_integer() and abs(rounded) < 1e15 else str(rounded)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class _Guard:
    """What one query may do, and what it did."""

    def __init__(self) -> None:
        self.steps = 0
        self.has_read = False

    def allows(self, action: int, first: str | None, second: str | None, *_: Any) -> int:
        """SQLite's authorizer. A column that is read has a name, but for `count(*)`."""
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").casefold() in FUNCTIONS:
            self.has_read |= (second or "").casefold() == "count"
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (not second or (first or "").casefold() == NAME):
            self.has_read |= bool(second)
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def is_too_slow(self) -> bool:
        self.steps += _STEPS_AT_ONCE
        return self.steps > MAX_STEPS
