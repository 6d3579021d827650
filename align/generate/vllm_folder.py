"""A model folder as vLLM can read it."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from align.generate.errors import GenerationError

OURS = ("align_qwen", "align_qwen_moe")


@contextlib.contextmanager
def readable_by_vllm(model: str | Path) -> Iterator[str]:
    """A folder that holds the same model; `model` itself where vLLM knows its architecture.

    Our dense Qwens have the weights of transformers' under the same names, but vLLM knows no class
    of ours. So it gets a temporary folder of links to the files, with a config.json of theirs. A
    mixture of experts is written anew, for on their disk each expert's weights lie apart.
    Raises GenerationError for one of ours that vLLM would compute otherwise.
    """
    folder = Path(model)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if config.get("model_type") not in OURS:
        yield str(model)
        return
    with tempfile.TemporaryDirectory(prefix="align-vllm-") as linked:
        _export(folder, Path(linked))
        yield linked


def _export(folder: Path, into: Path) -> None:
    from align.model import CheckpointError, QwenMoeConfig, load, to_transformers
    from align.model.convert import read_config
    from align.model.peers import peer_of, to_theirs

    ours = read_config(folder)
    _refuse_other_heads(ours, folder / "config.json")
    try:
        if isinstance(ours, QwenMoeConfig):
            theirs = to_transformers(load(folder))
            # A shared expert of no width, which transformers needs, vLLM does not know.
            weights = {name: w for name, w in theirs.state_dict().items() if w.numel()}
            theirs.save_pretrained(into, state_dict=weights)
        else:
            theirs = to_theirs(ours)
            theirs.architectures = [peer_of(ours).causal.__name__]
            theirs.save_pretrained(into)
    except CheckpointError as error:
        raise GenerationError(f"{folder}: {error}; sample from it with the local engine") from None
    written = {file.name for file in into.iterdir()}
    for file in folder.iterdir():
        weights = file.name.startswith("model") and isinstance(ours, QwenMoeConfig)
        if file.name not in written and not weights:
            (into / file.name).symlink_to(file.resolve())


def _refuse_other_heads(config: Any, path: Path) -> None:
    """vLLM's Qwen2 and Qwen2-MoE know no `head_dim`; its Qwen3s do."""
    width = config.hidden_size / config.num_attention_heads
    if not config.qk_norm and config.head_dim != width:
        raise GenerationError(
            f"{path}: vLLM's Qwen2 has heads of hidden_size / num_attention_heads = {width:g} "
            f"features, and this model has head_dim {config.head_dim}: sample from it with the "
            "local engine"
        )
