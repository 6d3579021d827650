"""Settings that every method has, and the checks of those that it adds."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from synth.synthesis import SynthesisError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of every method; a method's own class adds to them.

    A setting's check is its type (`Literal` values included) and `at_least`, a mapping from names
    of numbers to the least they may be. Raises SynthesisError for a value out of range.
    """

    sampling: Any = None
    """An `align.generate.Sampling`, or any dataclass that the engine takes."""
    seed: int = 0
    language: str = "en"
    """Of the prompts that the model is given: the method's prompt files say which there are."""
    templates: Path | None = None
    """A folder whose prompt files come before the method's own of the same name."""
    reasks: int = 1
    """How often an answer that can't be read is asked for again, with what was wrong."""
    on_failure: Literal["reject", "stop"] = "reject"
    """A request that failed for good: its row is rejected, or the run stops."""
    max_failed: float = 0.1
    """Under `reject`: the run stops if more than this share of all requests has failed."""

    def __post_init__(self) -> None:
        if self.sampling is None:
            raise SynthesisError("sampling is missing; give an align.generate.Sampling")
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            choices = _choices(hints[field.name])
            value = getattr(self, field.name)
            if choices and value not in choices:
                raise SynthesisError(
                    f"{field.name} is {value!r}; give one of {', '.join(map(str, choices))}"
                )
        self.at_least(reasks=0, max_failed=0)

    def at_least(self, **least: float) -> None:
        """Raise SynthesisError for a number below its least; None is nobody's business here."""
        for name, bound in least.items():
            value = getattr(self, name)
            if value is None:
                continue
            whole = isinstance(bound, int) and name != "max_failed"
            kinds = int if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or value < bound:
                what = "whole number" if whole else "number"
                raise SynthesisError(f"{name} is {value!r}; give a {what} of at least {bound}")


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()
