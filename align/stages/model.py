"""A model to start from: a folder beside the recipe, or a hub id."""

import os
import shutil
import warnings
from pathlib import Path

from align.stages.job import Job, Outcome, StageError
from align.stages.models import load_tokenizer, saved_facts

WANTED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")


def run(job: Job) -> Outcome:
    source = job.root / Path(job.config.path).expanduser()
    if not source.is_dir():
        source = _download(job)
    if not any(source.glob("*.safetensors")):
        raise StageError(f"{source}: no *.safetensors here; pickled weights are not loaded")
    for pattern in WANTED:
        for file in source.glob(pattern):
            if file.name != "manifest.json":  # of the artifact that it was, if it was one of ours
                _link(file.resolve(), job.output / file.name)
    tokenizer = load_tokenizer(job.output)
    if job.config.chat_template:
        tokenizer.chat_template = (job.root / job.config.chat_template).read_text(encoding="utf-8")
    if tokenizer.chat_template is None:
        raise StageError(
            f"{source}: its tokenizer has no chat template; name a Jinja file as `chat_template`"
        )
    return Outcome(facts=saved_facts(tokenizer, job.output))


def _download(job: Job) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            job.config.path, revision=job.config.revision, allow_patterns=list(WANTED)
        )
    except Exception as error:
        raise StageError(
            f"'{job.config.path}' is neither a folder beside the recipe nor a model that can be "
            f"loaded from the hub ({type(error).__name__}: {error})"
        ) from None
    return Path(folder)


def _link(source: Path, target: Path) -> None:
    """Weights are linked, for they may be larger than the disk has room for twice."""
    target.unlink(missing_ok=True)
    if source.suffix == ".safetensors":
        try:
            os.link(source, target)
            return
        except OSError as error:  # another file system
            warnings.warn(f"{source} is copied, not linked: {error.strerror}", stacklevel=2)
    shutil.copyfile(source, target)
