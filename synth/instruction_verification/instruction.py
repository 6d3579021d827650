"""All that belongs to one instruction on its way."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from synth.flow.item import Item
from synth.flow.window import Window


@dataclass(slots=True)
class Function:
    """A verification function. origins: the numbers of the answers that it was given in."""

    source: str
    origins: set[int]


@dataclass(slots=True)
class Case:
    """A response, and whether it follows the instruction. origins: as of a function."""

    response: str
    follows: bool
    origins: set[int]


@dataclass(slots=True)
class Instruction:
    """An instruction with what is left of its functions, cases and translations back.

    functions and cases are items whose `value` is a Function or a Case.
    """

    item: Item
    text: str
    functions: list[Item] = field(default_factory=list)
    cases: list[Item] = field(default_factory=list)
    translations: list[Item] = field(default_factory=list)

    @property
    def evidence(self) -> Sequence[Item]:
        """What speaks for it; a part of every row that it leads to."""
        return (*self.functions, *self.cases, *self.translations)

    def settle(self, window: Window, reason: str, detail: str = "") -> None:
        """Reject what has not become part of a row: the instruction under the reason."""
        for kind, items in (
            ("function", self.functions),
            ("case", self.cases),
            ("back", self.translations),
        ):
            for item in items:
                if not item.settled:
                    window.reject(item, f"{kind}:instruction_dropped")
        if not self.item.settled:
            window.reject(self.item, reason, detail)
