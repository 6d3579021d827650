"""A row on its way through a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from synth.synthesis import Row


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered. `first_logps`: its likeliest first tokens, where asked for."""

    text: str
    finish_reason: str
    num_tokens: int
    first_logps: Mapping[str, float]


@dataclass(slots=True, eq=False)
class Item:
    """A source row, or something made of one; a chain of parents leads back to the row.

    columns: what is known of it. text, value: the model's answer that it is, and what was read out
    of that. records: what was done to it, for the provenance.
    """

    id: str
    columns: Row
    parent: "Item | None" = None
    text: str = ""
    value: Any = None
    records: list[dict[str, Any]] = field(default_factory=list)
    settled: bool = False
    """Whether it has become part of a row, or has been rejected."""
    has_children: bool = False

    @property
    def source(self) -> "Item":
        """The source row that it comes from."""
        item = self
        while item.parent is not None:
            item = item.parent
        return item

    def history(self) -> list[dict[str, Any]]:
        """The records of all that led here, first things first."""
        before = self.parent.history() if self.parent is not None else []
        return [*before, *self.records]

    def child(self, step: str, index: int, **more: Any) -> "Item":
        """One made of this one; its id follows from its parent, the step and the index."""
        self.has_children = True
        return Item(child_id([self.id], step, index), self.columns, self, **more)


def child_id(parents: Sequence[str], step: str, index: int) -> str:
    """16 hex digits."""
    named = "\0".join([*parents, step, str(index)])
    return blake2b(named.encode(), digest_size=8).hexdigest()
