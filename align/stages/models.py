"""Models between stages: saved whole, and checked to speak the same tokens."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import align.model  # noqa: F401 - registers our model classes with transformers
from align.stages.job import Job, StageError

PICKLES = ("training_args.bin", "pytorch_model.bin")


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder)


def token_facts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Hashes that must agree along the whole chain, and the tokens that end things."""
    vocabulary = "\0".join(f"{k}\0{v}" for k, v in sorted(tokenizer.get_vocab().items()))
    template = tokenizer.chat_template or ""
    return {
        "tokenizer_sha256": hashlib.sha256(vocabulary.encode()).hexdigest(),
        "chat_template_sha256": hashlib.sha256(template.encode()).hexdigest(),
        "end_of_turn": tokenizer.eos_token,
    }


def check_same_tokens(job: Job, *stages: str) -> None:
    """Raise StageError unless the models of `stages` share tokenizer, chat template, end of turn.

    Weights trained under one template and sampled under another go wrong without any error.
    """
    first = job.inputs[stages[0]].manifest
    for stage in stages[1:]:
        other = job.inputs[stage].manifest
        for fact in ("tokenizer_sha256", "chat_template_sha256", "end_of_turn"):
            if first.get(fact) != other.get(fact):
                name = fact.removesuffix("_sha256").replace("_", " ")
                raise StageError(
                    f"stage '{job.name}': '{stages[0]}' and '{stage}' differ in their {name}; "
                    "models in one stage must come from the same base"
                )


def save_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> dict[str, Any]:
    """Write a model folder that can be sampled from, and return its facts for the manifest."""
    model.config.use_cache = True  # training switches it off; sampling without it is 27x slower
    model.save_pretrained(folder)
    return saved_facts(tokenizer, folder)


def saved_facts(tokenizer: PreTrainedTokenizerBase, folder: Path) -> dict[str, Any]:
    """Save the tokenizer beside saved weights, drop pickles, and return the folder's facts."""
    tokenizer.save_pretrained(folder)
    for name in PICKLES:
        (folder / name).unlink(missing_ok=True)
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return {"weights_sha256": digest.hexdigest(), **token_facts(tokenizer)}


def on_cpu() -> bool:
    return not torch.cuda.is_available()
