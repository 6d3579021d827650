"""Questions about a table's structure, whose answers code reads off."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from synth.tables.table import Table


@dataclass(frozen=True)
class Structural:
    """kind: which prompt file words the question, with `blanks`. Rows and columns count from 1."""

    kind: str
    answer: str
    blanks: Mapping[str, Any] = field(default_factory=dict)


def structural(table: Table, number: int, rng: random.Random) -> list[Structural]:
    """At most `number` questions of as many kinds as the table has."""
    possible = [question for question in _all(table, rng) if question is not None]
    return rng.sample(possible, min(number, len(possible)))


def _all(table: Table, rng: random.Random) -> list[Structural | None]:
    width, height = len(table.header), len(table.rows)
    column = rng.randrange(width)
    return [
        Structural("num_rows", str(height)),
        Structural("num_columns", str(width)),
        Structural("header_at", table.header[column], {"number": column + 1}),
        _cell_at(table, rng),
        _row_of(table, rng),
        _column_of(table, rng),
        _num_empty(table),
    ]


def _cell_at(table: Table, rng: random.Random) -> Structural | None:
    filled = [
        (r, c) for r, row in enumerate(table.rows) for c, text in enumerate(row) if text.strip()
    ]
    if not filled:
        return None
    row, column = rng.choice(filled)
    blanks = {"row": row + 1, "column": table.header[column]}
    return Structural("cell_at", table.rows[row][column], blanks)


def _row_of(table: Table, rng: random.Random) -> Structural | None:
    """The row of a value that its column has once."""
    column = rng.randrange(len(table.header))
    counts = Counter(text.casefold() for text in table.column(column))
    single = [
        (row, text)
        for row, text in enumerate(table.column(column))
        if text and counts[text.casefold()] == 1
    ]
    if not single:
        return None
    row, text = rng.choice(single)
    return Structural("row_of", str(row + 1), {"value": text, "column": table.header[column]})


def _column_of(table: Table, rng: random.Random) -> Structural | None:
    """The column of a value that the whole table has once, header included."""
    texts = [text.casefold() for row in (table.header, *table.rows) for text in row]
    counts = Counter(texts)
    single = [
        (column, text)
        for row in table.rows
        for column, text in enumerate(row)
        if text and counts[text.casefold()] == 1
    ]
    if not single:
        return None
    column, text = rng.choice(single)
    return Structural("column_of", table.header[column], {"value": text})


def _num_empty(table: Table) -> Structural | None:
    number = sum(not text for row in table.rows for text in row)
    return Structural("num_empty", str(number)) if number else None
