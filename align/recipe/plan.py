"""The plan: every stage in running order with its fingerprint.

Fingerprint = the resolved config + the inputs' fingerprints + the content of every file it names
+ the stage kind's own version. Equal fingerprints mean equal work, so a finished one is skipped.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from align.errors import AlignError
from align.recipe.content import module_source, path_sha256
from align.recipe.errors import RecipeError
from align.recipe.graph import Mention, inputs_of, mentions, refers_to_stage, topological
from align.recipe.load import Recipe
from align.recipe.schema import FilePath, FunctionName, Launch, Ref, Stage, Synth


@dataclass(frozen=True)
class PlannedStage:
    """One stage, ready to run. `identity` is all that the fingerprint is made of."""

    name: str
    config: Stage
    launch: Launch
    inputs: dict[str, str]
    identity: dict[str, Any]
    fingerprint: str


def plan_stages(
    recipe: Recipe,
    sources: Mapping[str, str] = MappingProxyType({}),
    methods: Mapping[str, str] = MappingProxyType({}),
) -> list[PlannedStage]:
    """Stages in an order in which every input comes before its user.

    sources: text of the functions that are known by a name alone (`align.reward`). methods: what
    decides the meaning of each synthesis method, its prompt files among it. Raises RecipeError if a
    file that a stage names cannot be read.
    """
    planned: dict[str, PlannedStage] = {}
    for name in topological(recipe.stages):
        config, launch = recipe.stages[name], recipe.launch_of(name)
        inputs = {i: planned[i].fingerprint for i in inputs_of(config, recipe.stages)}
        identity = {
            "kind": config.kind,
            "version": config.VERSION,
            "config": config.model_dump(mode="json", exclude={"launch"}),
            "seed": recipe.seed,
            "inputs": inputs,
            "files": _files(recipe, name, sources),
        }
        if isinstance(config, Synth):
            identity["method"] = methods.get(config.method)
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        fingerprint = hashlib.sha256(canonical.encode()).hexdigest()
        planned[name] = PlannedStage(name, config, launch, inputs, identity, fingerprint)
    return list(planned.values())


def _files(recipe: Recipe, name: str, sources: Mapping[str, str]) -> dict[str, str]:
    """Digest of each file that the stage names, by the name it has in the recipe."""
    found = {}
    for mention in mentions(recipe.stages[name], ("stages", name)):
        try:
            digest = _digest(mention, recipe, sources)
        except (AlignError, OSError) as error:
            raise RecipeError([f"{recipe.where(*mention.loc)}: {error}"]) from None
        if digest:
            found[mention.value] = digest
    if recipe.launch_of(name).accelerate_config:
        config = recipe.launch_of(name).accelerate_config
        found[config] = path_sha256(recipe.root / config)
    return found


def _digest(mention: Mention, recipe: Recipe, sources: Mapping[str, str]) -> str | None:
    value = mention.value
    if refers_to_stage(mention, recipe.stages):
        return None
    if mention.marker(FunctionName):
        file, colon, _ = value.rpartition(":")
        if value in sources:
            return hashlib.sha256(sources[value].encode()).hexdigest()
        if not colon:
            return None  # a name of ours: its meaning is part of the stage's version
        return path_sha256(recipe.root / file if file.endswith(".py") else module_source(file))
    if mention.marker(FilePath) or mention.marker(Ref):
        path = recipe.root / Path(value).expanduser()
        return path_sha256(path) if path.exists() else None
    return None


def changes(old: dict[str, Any], new: dict[str, Any], at: str = "") -> list[str]:
    """What differs between two identities, as `key: old -> new` in the recipe's words."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        place = f"{at}.{key}" if at else key
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            found += changes(before, after, place)
        elif place.startswith("inputs."):
            found.append(f"input {key} changed")
        elif place.startswith("files."):
            found.append(f"file {key} changed")
        else:
            found.append(f"{place.removeprefix('config.')}: {before} -> {after}")
    return found
