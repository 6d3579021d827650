"""From a YAML file to a validated recipe; every mistake found is reported with its position."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from align.recipe import arguments
from align.recipe.errors import RecipeError, did_you_mean
from align.recipe.graph import CycleError, Mention, mentions, refers_to_stage, topological
from align.recipe.schema import KINDS, FilePath, FunctionName, Header, Launch, Ref, Stage
from align.recipe.source import Loc, Source, override, read

STAGE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
DATA_SUFFIXES = {".jsonl", ".json", ".parquet", ".yaml", ".yml", ".jinja", ".txt"}


@dataclass(frozen=True)
class Recipe:
    """A validated recipe. `root` is the folder its relative paths start from."""

    path: Path
    root: Path
    name: str
    seed: int
    launch: Launch
    stages: dict[str, Stage]
    source: Source

    def where(self, *loc: str | int) -> str:
        return self.source.where(loc)

    def launch_of(self, stage: str) -> Launch:
        config = self.stages[stage]
        if not config.MULTI_PROCESS:
            return Launch()
        return config.launch or self.launch


def load_recipe(path: str | Path, overrides: Sequence[str] | dict[str, Any] = ()) -> Recipe:
    """Read, override and validate the recipe at `path`.

    `overrides` are `key=value` strings with dotted keys, or a mapping of dotted keys to values.
    Raises RecipeError listing every mistake with file, line and column.
    """
    path = Path(path)
    source = read(path)
    override(source, overrides)
    problems: list[str] = []
    header = _validate(Header, source.data, (), source, problems)
    stages: dict[str, Stage] = {}
    given = source.data.get("stages")
    for name, body in (given if isinstance(given, dict) else {}).items():
        stage = _stage(name, body, source, problems)
        if stage is not None:
            stages[name] = stage
    if not problems:
        problems += _check_references(stages, path.parent, source)
        try:
            topological(stages)
        except CycleError as error:
            problems.append(f"{source.where(('stages', error.stage))}: {error}")
    if problems:
        raise RecipeError(problems)
    return Recipe(path, path.parent, header.name, header.seed, header.launch, stages, source)


def _validate(
    cls: type[BaseModel], data: Any, loc: Loc, source: Source, problems: list[str]
) -> Any | None:
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        for item in error.errors():
            at = (*loc, *item["loc"])
            problems.append(f"{source.where(at)}: {_explain(item, cls, at)}")
        return None


def _explain(item: dict[str, Any], cls: type[BaseModel], at: Loc) -> str:
    place = ".".join(map(str, at))
    if item["type"] == "extra_forbidden":
        holder = _holder(cls, item["loc"][:-1])
        return (
            f"unknown key '{at[-1]}' in {'.'.join(map(str, at[:-1])) or 'the recipe'}"
            f"{did_you_mean(at[-1], holder.model_fields)}"
        )
    if item["type"] == "missing":
        return f"{'.'.join(map(str, at[:-1])) or 'the recipe'} needs the key '{at[-1]}'"
    message = item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
    return f"{place}: {message[0].lower()}{message[1:]}{shown}"


def _holder(cls: type[BaseModel], loc: Loc) -> type[BaseModel]:
    """The model class at `loc` below `cls`, for suggesting its field names."""
    for key in loc:
        if isinstance(key, int) or key not in cls.model_fields:
            continue
        for part in _leaves(cls.model_fields[key].annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                cls = part
    return cls


def _leaves(annotation: Any) -> Iterator[Any]:
    args = get_args(annotation)
    if not args:
        yield annotation
    for arg in args:
        yield from _leaves(arg)


def _stage(name: str, body: Any, source: Source, problems: list[str]) -> Stage | None:
    loc: Loc = ("stages", name)
    if not STAGE_NAME.fullmatch(name):
        problems.append(
            f"{source.where(loc)}: a stage's name is letters, digits, _ and -: '{name}'"
        )
        return None
    if not isinstance(body, dict) or "kind" not in body:
        problems.append(f"{source.where(loc)}: stages.{name} needs the key 'kind'")
        return None
    kind = body["kind"]
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS)
        problems.append(f"{source.where((*loc, 'kind'))}: unknown stage kind '{kind}'{hint}")
        return None
    before = len(problems)
    stage = _validate(KINDS[kind], body, loc, source, problems)
    if stage is None:
        return None
    if stage.CONFIG_CLASS:
        for argument, problem in arguments.problems(stage.CONFIG_CLASS, stage.args):
            problems.append(f"{source.where((*loc, 'args', argument))}: stages.{name}: {problem}")
    return stage if len(problems) == before else None


def _check_references(stages: dict[str, Stage], root: Path, source: Source) -> list[str]:
    problems = []
    for name, stage in stages.items():
        for mention in mentions(stage, ("stages", name)):
            problem = _check_mention(mention, name, stages, root)
            if problem:
                problems.append(f"{source.where(mention.loc)}: {problem}")
    return problems


def _check_mention(mention: Mention, name: str, stages: dict, root: Path) -> str | None:
    ref, value = mention.marker(Ref), mention.value
    if refers_to_stage(mention, stages):
        made = stages[value].artifact
        if made in ref.artifacts:
            return None
        wanted = " or ".join(sorted(ref.artifacts))
        return f"stage '{name}' wants a {wanted} here, but stage '{value}' makes a {made}"
    if ref and not ref.or_path:
        return f"stage '{name}' refers to '{value}', which is no stage{did_you_mean(value, stages)}"
    if mention.marker(FunctionName):
        file = value.rpartition(":")[0]
        if file.endswith(".py") and not (root / file).is_file():
            return f"no such file: {root / file} (paths are relative to the recipe)"
        return None  # names of functions are checked by the preflight, which knows the rooms
    if mention.marker(FilePath) is None and "/" not in value and "." not in value:
        return f"'{value}' is neither a stage nor a file{did_you_mean(value, stages)}"
    looks_local = value.startswith((".", "/", "~")) or Path(value).suffix in DATA_SUFFIXES
    if looks_local and not (root / Path(value).expanduser()).exists():
        return f"no such file: {root / value} (paths are relative to the recipe)"
    return None


DATA_SUFFIXES = {".jsonl", ".json", ".parquet", ".yaml", ".yml", ".jinja", ".txt"}
