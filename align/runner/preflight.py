"""Checks before a run starts, of what only other rooms know: methods, verifiers, functions.

They take milliseconds, and a tenth of a second where code is to be run, and import no torch;
without them the mistake would show hours later.
"""

import ast
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import rewards
import synth
import verifiers
from align.errors import AlignError
from align.recipe.arguments import accepts
from align.recipe.content import module_source
from align.recipe.errors import RecipeError, did_you_mean
from align.recipe.graph import Mention, mentions, refers_to_stage
from align.recipe.load import Recipe
from align.recipe.schema import SOURCES, FunctionName, Grpo, Ref, Synth

SUPPLIED = {"seed"}  # a setting of every method, which the stage itself gives
METHODS_OWN = (  # keys of the schema that only some methods have a use for
    "verifier",
    "judge",
    "judges",
    "reasoner",
    "embedder",
    "reward",
    "constitution",
    "seeds",
)
RUN_CODE = {"code", "function"}  # verifiers that need a sandbox


def preflight(recipe: Recipe) -> None:
    """Raise RecipeError for every name in the recipe that leads nowhere."""
    problems = []
    for name, stage in recipe.stages.items():
        if isinstance(stage, Synth):
            problems += _method_problems(recipe, name, stage)
        if isinstance(stage, Grpo):
            problems += _order_problems(recipe, name, stage)
        for mention in mentions(stage, ("stages", name)):
            if mention.marker(FunctionName) and not refers_to_stage(mention, recipe.stages):
                problem = _function_problem(recipe, name, mention)
                problems += [f"{recipe.where(*mention.loc)}: {problem}"] if problem else []
    if problems:
        raise RecipeError(problems)


def _order_problems(recipe: Recipe, name: str, stage: Grpo) -> list[str]:
    loc = ("stages", name)
    named = [m for m in mentions(stage, loc) if m.loc[:3] == (*loc, "rewards")]
    if stage.order == "given" or any(refers_to_stage(m, recipe.stages) for m in named):
        return []
    at = recipe.where(*loc)
    return [
        f"{at}: order 'variance' scores queries by a reward model; name a reward stage among "
        "`rewards`, or set order: given"
    ]


def _method_problems(recipe: Recipe, name: str, stage: Synth) -> list[str]:
    loc = ("stages", name)
    try:
        method = synth.get(stage.method)
    except ValueError as error:
        return [f"{recipe.where(*loc, 'method')}: {error}"]
    settings = {field.name: field for field in fields(method.Settings)}
    own = set(settings) - set(Synth.model_fields) - SUPPLIED
    problems = _choice_problems(recipe, name, stage, method)
    for key, value in (stage.model_extra or {}).items():
        at = f"{recipe.where(*loc, key)}: stages.{name}:"
        if key not in own:
            hint = did_you_mean(key, own | set(Synth.model_fields))
            problems.append(f"{at} unknown key '{key}': {stage.method} has no such setting{hint}")
        elif not accepts(annotation := _written(settings[key].type), value):
            problems.append(f"{at} {key} takes {annotation}, not {value!r}")
    for key in METHODS_OWN:
        given = getattr(stage, key) is not None
        if given and key not in settings:
            at = recipe.where(*loc, key)
            problems.append(f"{at}: stages.{name}: {stage.method} has no use for '{key}'")
        if not given and key in settings and _is_required(settings[key]):
            problems.append(f"{recipe.where(*loc)}: stages.{name}: {stage.method} needs '{key}'")
    if getattr(method, "RUNS_CODE", False) and (problem := _sandbox_problem()):
        problems.append(f"{recipe.where(*loc, 'method')}: {problem}")
    return problems or _value_problems(recipe, name, stage, method)


def _value_problems(recipe: Recipe, name: str, stage: Synth, method: Any) -> list[str]:
    """What the method's own checks say, with stand-ins for the models that come later."""
    chosen = {"sampling": stage.sampling, **(stage.model_extra or {})}
    for key in METHODS_OWN:
        if getattr(stage, key) is not None:
            chosen[key] = _stand_in if key != "judges" else [_stand_in] * len(stage.judges)
    for key in ("constitution", "seeds", "templates"):
        if getattr(stage, key) is not None:
            chosen[key] = recipe.root / getattr(stage, key)
    if "output" in {field.name for field in fields(method.Settings)}:
        chosen["output"] = stage.output
    try:
        synth.checked_settings(stage.method, chosen)
    except synth.SynthesisError as error:
        return [f"{recipe.where('stages', name)}: stages.{name}: {error}"]
    return []


def _stand_in(*_: Any, **__: Any) -> None:
    """For a verifier or a model, where only its being there counts."""


def _choice_problems(recipe: Recipe, name: str, stage: Synth, method: Any) -> list[str]:
    """What the method can't start from or make."""
    loc, problems = ("stages", name), []
    source = next(key for key in SOURCES if getattr(stage, key) is not None)
    if source not in method.SOURCES:
        problems.append(
            f"{recipe.where(*loc, source)}: stages.{name}: {stage.method} starts from "
            f"{' or '.join(method.SOURCES)}, not from {source}"
        )
    if stage.output not in method.OUTPUTS:
        problems.append(
            f"{recipe.where(*loc)}: stages.{name}: {stage.method} makes "
            f"{' or '.join(method.OUTPUTS)}, not {stage.output}; set output: {method.OUTPUTS[0]}"
        )
    return problems


def _is_required(field: Field) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _written(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _function_problem(recipe: Recipe, stage: str, mention: Mention) -> str | None:
    """What is wrong with a verifier's or reward's name; the user's code is read, not run."""
    source, colon, name = mention.value.rpartition(":")
    if not colon:
        return _name_problem(recipe, stage, mention)
    try:
        path = recipe.root / source if source.endswith(".py") else module_source(source)
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except AlignError as error:
        return str(error)
    except SyntaxError as error:
        return f"{source}:{error.lineno}: {error.msg}"
    defined = _defined(tree)
    if name not in defined:
        return f"no '{name}' in {Path(source).name}{did_you_mean(name, defined)}"
    return None


def _name_problem(recipe: Recipe, stage: str, mention: Mention) -> str | None:
    known = list(verifiers.NAMES)
    if mention.value in known:
        return _sandbox_problem() if mention.value in RUN_CODE else None
    if mention.marker(Ref):
        if mention.value in rewards.sources():
            if recipe.launch_of(stage).num_processes == 1:
                return None
            return (
                f"'{mention.value}': stage '{stage}' is launched, and its processes do not know "
                "this function; name it as file.py:name"
            )
        known += list(rewards.sources())
        known += [n for n, s in recipe.stages.items() if s.artifact == "reward_model"]
    what = "verifier, reward-model stage" if mention.marker(Ref) else "verifier"
    return f"'{mention.value}' is no {what} or file.py:name{did_you_mean(mention.value, known)}"


def _sandbox_problem() -> str | None:
    try:
        verifiers.code.sandbox()
    except verifiers.VerifierError as error:
        return str(error)
    return None


def _defined(tree: ast.Module) -> set[str]:
    """Names that a module defines at its top level."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names
