"""Verifier "tables": answers taken from a table, as a cell, a row or column, or a whole table.

The reference decides which: a text or number is a cell; a list of them is a row or column; a list
of lists (the header first) or of dicts (records) is a table, and so is a text of several lines in
Markdown, CSV or TSV. Cells are compared by `verifiers.cells`: numbers within a tolerance, with
thousands separators, currency and percent signs; dates; text without regard to its writing.

Of a completion, cells and lists are the final answer (`verifiers.extract`). A table is the last of
its fenced blocks, runs of lines with `|`, and JSON on lines of its own; without any of them the
final answer, or the last paragraph.
"""

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from verifiers.cells import Cell, cells_equal, read_cell
from verifiers.extract import final_answer
from verifiers.normal import after_thought, untypeset
from verifiers.strict_json import array_or_object
from verifiers.verdict import Verdict, VerifierError

TABLE_CHARS = 100_000
"""A table is looked for in this much of a completion's end."""

Same = Callable[[Cell, Cell], bool]

_TABLE_LANGUAGES = ("", "csv", "tsv", "json", "markdown", "md", "text", "txt", "table")
_RULE = re.compile(r":?-+:?")
_PIPE = re.compile(r"(?<!\\)\|")
_BULLET = re.compile(r"(?:[0-9]{1,3}[.)]|[-*\u2022])\s+")
_SEPARATORS = [re.compile(text) for text in (r"\n", r";", r"\|", r",\s+(?:and\s)?|\sand\s", r",")]


@dataclass(frozen=True)
class _Table:
    header: list[str]
    rows: list[list[Cell]]


def verify(
    completion: str,
    reference: Any,
    *,
    ordered: bool | None = True,
    tolerance: float | None = None,
    **columns: Any,
) -> Verdict:
    """Compare the cell, list or table in `completion` with `reference`; the score is the share of
    cells that agree, of the larger of the two.

    reference: a string, a number, a list of cells, a list of lists, a list of dicts, or JSON of
    these. ordered: whether the order of a list, or of a table's rows, counts; columns of a table go
    by their names. tolerance: relative; by default 1e-6, and none for whole numbers. Reasons:
    `equal`, `not_equal`, `no_answer`, `no_table`; `unparsable_reference` with correct None. Raises
    VerifierError for a tolerance that is none.
    """
    same = _same(tolerance)
    expected = _expected(reference)
    if expected is None:
        return Verdict(None, 0.0, "unparsable_reference", f"reference: {reference!r:.80}")
    in_order = ordered is None or bool(ordered)
    if isinstance(expected, _Table):
        table = next(_tables(after_thought(completion, TABLE_CHARS)), None)
        if table is None:
            return Verdict(False, 0.0, "no_table")
        return _verdict(*_table_matches(table, expected, same, in_order))
    answer = final_answer(completion)
    if answer is None:
        return Verdict(False, 0.0, "no_answer")
    if isinstance(expected, Cell):
        return _verdict(int(same(read_cell(answer), expected)), 1)
    return max(
        (
            _verdict(*_list_matches(cells, expected, same, in_order))
            for cells in _lists(untypeset(answer))
        ),
        key=lambda verdict: verdict.score,
    )


def _verdict(num_matches: int, num_cells: int) -> Verdict:
    if num_matches == num_cells:
        return Verdict(True, 1.0, "equal")
    detail = f"{num_matches} of {num_cells} cells agree"
    return Verdict(False, num_matches / num_cells, "not_equal", detail)


def _same(tolerance: float | None) -> Same:
    if tolerance is None:
        return lambda cell, expected: cells_equal(cell, expected, None)
    is_number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not is_number or not math.isfinite(tolerance) or tolerance < 0:
        raise VerifierError(f"tolerance is {tolerance!r}; give a relative one such as 0.01, or 0")
    relative = Decimal(str(tolerance))
    return lambda cell, expected: cells_equal(cell, expected, relative)


def _expected(reference: Any) -> Cell | list[Cell] | _Table | None:
    """The reference as a cell, a list or a table; None if it is none of them, or empty."""
    if isinstance(reference, str):
        loaded = array_or_object(reference)
        if loaded is not None:
            return _expected(loaded)
        if "\n" in reference.strip():
            table = next(_tables(reference), None)
            return table if table and table.rows else None
    if isinstance(reference, dict | list | tuple):
        if isinstance(reference, dict) or any(
            isinstance(part, list | tuple | dict) for part in reference
        ):
            table = _from_json(reference)
            return table if table and table.header and table.rows else None
        cells = [read_cell(part) for part in reference]
        return cells if any(cell.text for cell in cells) else None
    if isinstance(reference, str | int | float):
        cell = read_cell(reference)
        return cell if cell.text and cell.text not in ("nan", "inf", "-inf") else None
    return None


# --- lists ---


def _lists(answer: str) -> Iterator[list[Cell]]:
    """The answer as a list, in each way that lists are written."""
    loaded = array_or_object(answer)
    if isinstance(loaded, list):
        yield [read_cell(part) for part in loaded]
    for separator in _SEPARATORS:
        parts = [_BULLET.sub("", part.strip(), count=1) for part in separator.split(answer)]
        yield [read_cell(part.strip("[]")) for part in parts if part.strip()]


def _list_matches(
    cells: list[Cell], expected: list[Cell], same: Same, in_order: bool
) -> tuple[int, int]:
    num_cells = max(len(cells), len(expected))
    if in_order:
        return sum(map(same, cells, expected)), num_cells
    left = cells[: 2 * len(expected)]  # more can only be wrong, and would cost time
    num_matches = 0
    for wanted in expected:
        found = next((n for n, cell in enumerate(left) if same(cell, wanted)), None)
        if found is not None:
            del left[found]
            num_matches += 1
    return num_matches, num_cells


# --- tables ---


def _table_matches(table: _Table, expected: _Table, same: Same, in_order: bool) -> tuple[int, int]:
    order = _column_order(table.header, expected.header)
    width = max(len(expected.header), len(table.header))
    num_cells = width * max(len(table.rows), len(expected.rows))
    rows = [_reordered(row, order) for row in table.rows[: 2 * len(expected.rows)]]
    if in_order:
        return sum(map(lambda *pair: _row_matches(*pair, same), rows, expected.rows)), num_cells
    num_matches = 0
    for wanted in expected.rows:
        shares = [_row_matches(row, wanted, same) for row in rows]
        if shares:
            best = shares.index(max(shares))
            num_matches += shares[best]
            del rows[best]
    return num_matches, num_cells


def _column_order(header: list[str], expected: list[str]) -> list[int | None]:
    """For each expected column, where it stands; names that stand twice go by their order."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(header):
        places.setdefault(name, []).append(place)
    return [places[name].pop(0) if places.get(name) else None for name in expected]


def _reordered(row: list[Cell], order: list[int | None]) -> list[Cell | None]:
    return [None if place is None else row[place] for place in order]


def _row_matches(row: list[Cell | None], expected: list[Cell], same: Same) -> int:
    pairs = zip(row, expected, strict=True)
    return sum(cell is not None and same(cell, wanted) for cell, wanted in pairs)


def _tables(text: str) -> Iterator[_Table]:
    """The tables in a text, the one that counts first."""
    for _, block in sorted(_blocks(text.splitlines()), reverse=True):
        table = _parsed(block)
        if table:
            yield table
    for block in (final_answer(text) or "", text.strip().rsplit("\n\n", 1)[-1]):
        table = _parsed(block)
        if table:
            yield table


def _blocks(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Fenced blocks, runs of lines with `|`, and JSON, each with the line that it starts at."""
    fences, runs = [], []
    language, fence_start, run_start = None, 0, None
    for number, line in enumerate([*lines, ""]):
        if line.lstrip().startswith("```"):
            if language is None:
                language, fence_start = line.strip("` \t").casefold(), number + 1
            else:
                if language in _TABLE_LANGUAGES:
                    fences.append((fence_start, number))
                language = None
        if "|" in line and run_start is None:
            run_start = number
        elif "|" not in line and run_start is not None:
            runs.append((run_start, number))
            run_start = None
    starts = [number for number, line in enumerate(lines) if line.startswith(("[", "{"))]
    ends = [number for number, line in enumerate(lines) if line.rstrip().endswith(("]", "}"))]
    json_block = [(starts[0], ends[-1] + 1)] if starts and ends else []
    for start, end in fences + runs + json_block:
        yield start, "\n".join(lines[start:end])


def _parsed(block: str) -> _Table | None:
    loaded = array_or_object(block)
    if loaded is not None:
        return _from_json(loaded)
    lines = [line for line in block.strip().splitlines() if line.strip()]
    if len(lines) < 2:
        return None
    if all("|" in line for line in lines):
        header, *rows = [_markdown_row(line) for line in lines]
        return _table(header, rows[1:] if all(map(_RULE.fullmatch, rows[0])) else rows)
    delimiter = "\t" if "\t" in lines[0] else ","
    if delimiter not in lines[0]:
        return None
    try:
        header, *rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    except csv.Error:
        return None
    return _table(header, rows)


def _markdown_row(line: str) -> list[str]:
    cells = _PIPE.split(line.strip().removeprefix("|").removesuffix("|"))
    return [cell.strip().replace("\\|", "|") for cell in cells]


def _from_json(loaded: Any) -> _Table | None:
    if isinstance(loaded, dict):
        if loaded and all(isinstance(column, list) for column in loaded.values()):
            columns = list(loaded.values())
            is_even = len({len(column) for column in columns}) == 1
            return _table(list(loaded), zip(*columns, strict=True)) if is_even else None
        loaded = [loaded]
    if loaded and all(isinstance(record, dict) for record in loaded):
        names = list(dict.fromkeys(name for record in loaded for name in record))
        return _table(names, [[record.get(name) for name in names] for record in loaded])
    if loaded and all(isinstance(row, list | tuple) for row in loaded):
        return _table(loaded[0], loaded[1:])
    return None


def _table(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> _Table | None:
    """None if a row is longer than the header, or a cell is no plain value."""
    names = [read_cell(name).text for name in header]
    read: list[list[Cell]] = []
    for row in map(list, rows):
        if len(row) > len(names) or any(isinstance(cell, list | tuple | dict) for cell in row):
            return None
        read.append([read_cell(cell) for cell in row + [None] * (len(names) - len(row))])
    return _Table(names, read)
