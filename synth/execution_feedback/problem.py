"""All that belongs to one source row on its way."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from synth.flow.item import Item
from synth.flow.window import Window


@dataclass(frozen=True)
class Seen:
    """What a program did on one input. output: None unless it ended well."""

    verdict: str
    output: str | None
    detail: str = ""


@dataclass(slots=True)
class Problem:
    """A source row.

    question: what was asked in the row. tasks: the problem in each of its languages, with columns
    `language` and `prompt`; the row itself where there is but one. programs: their `value` is the
    source. failed: why a program is wrong, by its id. tests: their `value` is a Case. seen: what
    each program did, by its id and the input.
    """

    item: Item
    question: str
    tasks: list[Item]
    programs: list[Item] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    tests: list[Item] = field(default_factory=list)
    seen: dict[str, dict[str, Seen]] = field(default_factory=dict)

    @property
    def entry_point(self) -> str | None:
        """The Python function asked for; None for a program."""
        return self.item.columns.get("entry_point") or None

    def running(self) -> Iterator[Item]:
        """Programs that nothing has been found wrong with so far."""
        return (program for program in self.programs if program.id not in self.failed)

    def settle(self, window: Window, reason: str, program_reason: str) -> None:
        """Reject what has not become part of a row: programs that failed under what they failed
        by, the others under `program_reason`, the problem and its tasks under `reason`."""
        for program in self.programs:
            if not program.settled:
                window.reject(program, self.failed.get(program.id, program_reason))
        for test in self.tests:
            if not test.settled:
                window.reject(test, "test:problem_dropped")
        for item in (*self.tasks, self.item):
            if not item.settled:
                window.reject(item, reason)
