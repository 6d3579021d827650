"""A recipe's YAML as plain data, with the line and column of every key and value."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from align.recipe.errors import RecipeError

Loc = tuple[str | int, ...]


def _parse(text: str) -> Any:
    # YAML 1.2: `7e-6` is a number and `on` a word, as people expect; duplicate keys are refused.
    return YAML(typ="rt", pure=True).load(text)


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):  # ruamel's scalars are subclasses that keep formatting
        if isinstance(node, kind):
            return kind(node)
    return node


@dataclass
class Source:
    """Parsed text: `data` is plain; `where(loc)` gives `file:line:column` of what stands there."""

    name: str
    data: dict[str, Any]
    positions: dict[Loc, tuple[int, int]] = field(default_factory=dict)
    overridden: dict[Loc, str] = field(default_factory=dict)

    def where(self, loc: Sequence[str | int]) -> str:
        """Position of `loc`, or of its nearest ancestor that stands in the file."""
        loc = tuple(loc)
        for length in range(len(loc), -1, -1):
            if loc[:length] in self.overridden:
                return f"--set {self.overridden[loc[:length]]}"
            if loc[:length] in self.positions:
                line, column = self.positions[loc[:length]]
                return f"{self.name}:{line}:{column}"
        return self.name


def _collect(node: Any, loc: Loc, positions: dict[Loc, tuple[int, int]]) -> None:
    if isinstance(node, CommentedMap):
        for key, value in node.items():
            line, column = node.lc.key(key) if key in node.lc.data else (node.lc.line, node.lc.col)
            positions[(*loc, str(key))] = (line + 1, column + 1)
            _collect(value, (*loc, str(key)), positions)
    elif isinstance(node, CommentedSeq):
        for index, value in enumerate(node):
            line, column = node.lc.item(index)
            positions[(*loc, index)] = (line + 1, column + 1)
            _collect(value, (*loc, index), positions)


def read(path: Path) -> Source:
    """Parse the YAML file `path`. Raises RecipeError with the position of a syntax error."""
    try:
        node = _parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError([f"{path}: no such recipe file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError([f"{path}: cannot be read: {error}"]) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = (error.problem or error.context or "not valid YAML").splitlines()[0]
        raise RecipeError([f"{path}{at}: not valid YAML: {problem}"]) from None
    except YAMLError as error:
        raise RecipeError([f"{path}: not valid YAML: {error}"]) from None
    if not isinstance(node, CommentedMap):
        raise RecipeError([f"{path}:1:1: a recipe is a mapping with the keys name and stages"])
    source = Source(str(path), _plain(node))
    _collect(node, (), source.positions)
    return source


def override(source: Source, assignments: Sequence[str] | dict[str, Any]) -> None:
    """Apply `a.b.c=value` assignments (values are YAML) or a mapping of dotted keys to values."""
    if isinstance(assignments, dict):
        pairs = [(k, v, f"{k}={json.dumps(v)}") for k, v in assignments.items()]
    else:
        pairs = []
        for text in assignments:
            key, equals, value = text.partition("=")
            if not equals or not key.strip():
                raise RecipeError([f"--set {text}: write it as key=value, as stages.sft.seed=3"])
            try:
                pairs.append((key.strip(), _plain(_parse(value)), text))
            except YAMLError:
                raise RecipeError([f"--set {text}: the value is not valid YAML"]) from None
    for key, value, text in pairs:
        _assign(source, key.split("."), value, text)


def _assign(source: Source, keys: list[str], value: Any, text: str) -> None:
    node, loc = source.data, []
    for depth, key in enumerate(keys):
        if isinstance(node, list):
            if not key.isdigit() or int(key) >= len(node):
                at = ".".join(keys[:depth])
                raise RecipeError([f"--set {text}: {at} is a list of {len(node)}; give an index"])
            key = int(key)
        elif not isinstance(node, dict):
            raise RecipeError([f"--set {text}: {'.'.join(keys[:depth])} is not a mapping"])
        loc.append(key)
        if depth == len(keys) - 1:
            node[key] = value
        elif isinstance(node, dict):
            node = node.setdefault(key, {})
        else:
            node = node[key]
    source.overridden[tuple(loc)] = text
