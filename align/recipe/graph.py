"""The graph that a recipe's references make: what each stage mentions, and an order to run in."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from align.recipe.schema import FilePath, FunctionName, Ref, Stage
from align.recipe.source import Loc


class CycleError(Exception):
    """A stage that depends on itself; `stage` is where the cycle was met."""

    def __init__(self, stage: str, path: list[str]):
        self.stage = stage
        super().__init__(f"stage '{stage}' depends on itself: {' -> '.join(path)}")


@dataclass(frozen=True)
class Mention:
    """A string in a stage that points at something: another stage, a file, or a function."""

    loc: Loc
    value: str
    markers: tuple[object, ...]

    def marker(self, kind: type) -> Any:
        return next((m for m in self.markers if isinstance(m, kind)), None)


def mentions(config: BaseModel, loc: Loc = ()) -> Iterator[Mention]:
    """Every marked string in `config`, with its place."""
    for name, info in type(config).model_fields.items():
        value = getattr(config, name)
        yield from _mentions(info.annotation, tuple(info.metadata), value, (*loc, name))


def _mentions(annotation: Any, markers: tuple, value: Any, loc: Loc) -> Iterator[Mention]:
    if isinstance(value, BaseModel):
        yield from mentions(value, loc)
    elif isinstance(value, list):
        if get_origin(annotation) in (Union, UnionType):  # list[...] | None
            annotation = next(o for o in get_args(annotation) if get_origin(o) is list)
        item = (get_args(annotation) or (Any,))[0]
        for index, element in enumerate(value):
            yield from _mentions(*_unwrap(item), element, (*loc, index))
    elif isinstance(value, str):
        if get_origin(annotation) in (Union, UnionType):
            for option in get_args(annotation):
                markers = (*markers, *_unwrap(option)[1])
        markers = tuple(m for m in markers if isinstance(m, Ref | FilePath | FunctionName))
        if markers:
            yield Mention(loc, value, markers)


def _unwrap(annotation: Any) -> tuple[Any, tuple]:
    metadata = getattr(annotation, "__metadata__", ())
    return (get_args(annotation)[0] if metadata else annotation), metadata


def refers_to_stage(mention: Mention, stages: dict[str, Stage]) -> bool:
    """Whether `mention` names one of `stages`, and not a function that has the same name.

    A recipe may have a stage `math` and reward by the verifier `math`.
    """
    ref = mention.marker(Ref)
    if ref is None or mention.value not in stages:
        return False
    return mention.marker(FunctionName) is None or stages[mention.value].artifact in ref.artifacts


def inputs_of(stage: Stage, stages: dict[str, Stage]) -> list[str]:
    """Names of the stages that `stage` refers to, each once, in the order they are written."""
    named = [m.value for m in mentions(stage) if refers_to_stage(m, stages)]
    return list(dict.fromkeys(named))


def topological(stages: dict[str, Stage]) -> list[str]:
    """Stage names with every input before its user; otherwise in the order of the recipe."""
    order: list[str] = []
    open_: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in open_:
            raise CycleError(name, [*open_[open_.index(name) :], name])
        open_.append(name)
        for parent in inputs_of(stages[name], stages):
            visit(parent)
        open_.remove(name)
        order.append(name)

    for name in stages:
        visit(name)
    return order
