"""A checkpoint from our format to transformers', or back, as a folder."""

import shutil
from pathlib import Path
from typing import Literal

from align.model.config import QwenConfig
from align.model.convert import load, read_config, to_transformers
from align.model.errors import CheckpointError

# What belongs to a model and is neither its weights nor its configuration.
BESIDE = ("*.jinja", "*.txt", "*.model", "tokenizer*.json", "special_tokens_map.json",
          "added_tokens.json", "vocab.json", "generation_config.json")  # fmt: skip


def convert(
    source: Path, target: Path, to: Literal["transformers", "align"] | None = None
) -> tuple[str, str]:
    """Write `source`'s model to `target` in the other format, with its tokenizer; both class names.

    to: by default the format that `source` does not have. Raises CheckpointError for a target that
    holds something, and for what `align.model.load` refuses.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{target}: exists and is not an empty folder; name another")
    is_ours = isinstance(read_config(source), QwenConfig)
    to = to or ("transformers" if is_ours else "align")
    model = load(source)
    before = type(model).__name__ if is_ours else type(to_transformers(model)).__name__
    if to == "transformers":
        model = to_transformers(model)
    model.save_pretrained(target)
    for pattern in BESIDE:
        for file in source.glob(pattern) if source.is_dir() else ():
            if not (target / file.name).exists():
                shutil.copyfile(file, target / file.name)
    return before, type(model).__name__
