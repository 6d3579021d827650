"""Check a trainer's `args:` against TRL's own config dataclasses, without importing them.

Importing trl takes seconds; reading its source takes milliseconds. The fields and annotations of
`SFTConfig` and its relatives are therefore read with `ast`, up the chain of base classes. A test
holds this reading against `dataclasses.fields` of the imported classes.
"""

import ast
from collections.abc import Mapping
from functools import cache
from typing import Any

from align.recipe.content import module_source
from align.recipe.errors import did_you_mean

_TRL = "trl.trainer."
CHAINS = {
    "SFTConfig": [(_TRL + "sft_config", "SFTConfig")],
    "DPOConfig": [(_TRL + "dpo_config", "DPOConfig")],
    "RewardConfig": [(_TRL + "reward_config", "RewardConfig")],
    "GRPOConfig": [(_TRL + "grpo_config", "GRPOConfig")],
}
_BASES = [
    (_TRL + "base_config", "_BaseConfig"),
    ("transformers.training_args", "TrainingArguments"),
]
for _chain in CHAINS.values():
    _chain.extend(_BASES)
CHAINS["PretrainConfig"] = [("align.pretrain.loop", "PretrainConfig")]

# Set by the runner, so that resume, artifacts and reports hold.
OWNED = {
    "output_dir": "the runner decides where a stage works",
    "seed": "set `seed` at the top of the recipe",
    "data_seed": "set `seed` at the top of the recipe",
    "resume_from_checkpoint": "a killed stage resumes by itself",
    "save_only_model": "a checkpoint without optimizer state cannot be resumed exactly",
    "push_to_hub": "push the finished artifact instead",
    "do_train": "the stage decides",
    "deepspeed": "name an accelerate config under `launch`",
    "fsdp": "name an accelerate config under `launch`",
}
# The same, of one class: SFT may well shuffle its data.
OWNED_BY_CLASS = {
    "GRPOConfig": {
        "shuffle_dataset": "`order` decides, and a shuffled run cannot be resumed exactly",
        "reward_weights": "give each entry of `rewards` its weight",
    }
}


@cache
def fields(config: str) -> dict[str, str]:
    """Field name -> annotation source of a config class, own fields before inherited ones."""
    found: dict[str, str] = {}
    for module, class_name in CHAINS[config]:
        tree = ast.parse(module_source(module).read_text(encoding="utf-8"))
        classes = {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
        for node in classes[class_name]:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.setdefault(node.target.id, ast.unparse(node.annotation))
    return {name: kind for name, kind in found.items() if not kind.startswith("ClassVar")}


_CHECKS = {
    "bool": lambda v: isinstance(v, bool),
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "float": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "str": lambda v: isinstance(v, str),
    "list": lambda v: isinstance(v, list),
    "dict": lambda v: isinstance(v, dict),
    "None": lambda v: v is None,
}


def accepts(annotation: str, value: Any) -> bool:
    """Whether `value` fits one of the annotation's alternatives; unknown types accept anything."""
    alternatives = annotation.replace("Optional[", "None | [").strip("'\"").split("|")
    names = [part.strip().strip("[]").split("[")[0].strip() for part in alternatives]
    return any(_CHECKS.get(name, lambda v: True)(value) for name in names)


def problems(config: str, args: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(argument, what is wrong with it) for each argument that the class would not take."""
    known = fields(config)
    owned = OWNED | OWNED_BY_CLASS.get(config, {})
    found = []
    for name, value in args.items():
        if name in owned:
            found.append((name, f"'{name}' is not yours to set here: {owned[name]}"))
        elif name not in known:
            hint = did_you_mean(name, known)
            found.append((name, f"unknown key '{name}': {config} has no such argument{hint}"))
        elif not accepts(known[name], value):
            kind = type(value).__name__
            found.append((name, f"{config}.{name} takes {known[name]}, not {kind} {value!r}"))
    return found
