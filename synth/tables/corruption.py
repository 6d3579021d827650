"""Tables with one wrong cell, of which the rest of the table says what it was.

A cell changed at random can't be found, let alone mended. These can: a digit that became a letter,
a misspelt value that its column has elsewhere, a number out of a sequence of equal steps, a sum in
the last row that is none.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Literal

from synth.tables.table import Table, cell_of

_LOOKALIKES = {"0": "O", "1": "l", "5": "S", "8": "B"}
_MIN_TYPO_CHARS = 5
_MIN_REPEATED = 3
_MIN_SEQUENCE = 5
_MIN_ADDENDS = 3


@dataclass(frozen=True)
class Corruption:
    """row, column: of the cell, from 0. wrong, right: its text after and before."""

    kind: Literal["digit", "typo", "sequence", "sum"]
    row: int
    column: int
    wrong: str
    right: str


def corruptions(table: Table, number: int, rng: random.Random) -> list[Corruption]:
    """At most `number` of those that the table allows, no two of the same cell."""
    by_kind = [list(found(table, rng)) for found in (_digits, _typos, _sequences, _sums)]
    drawn: list[Corruption] = []
    for found in rng.sample(by_kind, len(by_kind)) * number:
        cells = {(one.row, one.column) for one in drawn}
        left = [one for one in found if (one.row, one.column) not in cells]
        if left and len(drawn) < number:
            drawn.append(rng.choice(left))
    return drawn


def _numbers(table: Table, column: int) -> list[Decimal | None]:
    if table.kinds[column] != "number":
        return []
    return [cell_of(text).number for text in table.column(column)]


def _digits(table: Table, rng: random.Random) -> Iterator[Corruption]:
    for column in range(len(table.header)):
        for row, number in enumerate(_numbers(table, column)):
            right = table.rows[row][column]
            places = [place for place, digit in enumerate(right) if digit in _LOOKALIKES]
            if number is not None and len(right) > 1 and places:
                place = rng.choice(places)
                wrong = right[:place] + _LOOKALIKES[right[place]] + right[place + 1 :]
                yield Corruption("digit", row, column, wrong, right)


def _typos(table: Table, rng: random.Random) -> Iterator[Corruption]:
    """Two letters in a word changed places, and the value stands elsewhere in its column."""
    for column, kind in enumerate(table.kinds):
        texts = table.column(column)
        counts = Counter(texts)
        for row, right in enumerate(texts):
            if kind != "text" or len(right) < _MIN_TYPO_CHARS or counts[right] < _MIN_REPEATED:
                continue
            places = [
                place
                for place in range(1, len(right) - 1)
                if right[place : place + 2].isalpha() and right[place] != right[place + 1]
            ]
            if places:
                place = rng.choice(places)
                wrong = right[:place] + right[place + 1] + right[place] + right[place + 2 :]
                if wrong.casefold() not in map(str.casefold, texts):
                    yield Corruption("typo", row, column, wrong, right)


def _sequences(table: Table, rng: random.Random) -> Iterator[Corruption]:
    for column in range(len(table.header)):
        numbers = _numbers(table, column)
        if len(numbers) < _MIN_SEQUENCE or None in numbers:
            continue
        steps = {after - before for before, after in pairwise(numbers)}
        if len(steps) == 1 and steps != {0}:
            row = rng.randrange(len(numbers))
            yield from _other_digit(table, "sequence", row, column, rng)


def _sums(table: Table, rng: random.Random) -> Iterator[Corruption]:
    for column in range(len(table.header)):
        *addends, total = _numbers(table, column) or [None]
        known = [number for number in addends if number]
        if len(known) >= _MIN_ADDENDS and total == sum(known):
            yield from _other_digit(table, "sum", len(table.rows) - 1, column, rng)


def _other_digit(
    table: Table, kind: Literal["sequence", "sum"], row: int, column: int, rng: random.Random
) -> Iterator[Corruption]:
    """The cell with one digit changed, so that its column does not have that number already."""
    right = table.rows[row][column]
    places = [place for place, character in enumerate(right) if character in "0123456789"]
    place = rng.choice(places)
    for digit in rng.sample("123456789", 9):
        wrong = right[:place] + digit + right[place + 1 :]
        if digit != right[place] and cell_of(wrong).number not in _numbers(table, column):
            yield Corruption(kind, row, column, wrong, right)
            return
