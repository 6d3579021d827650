"""A model folder as vLLM can read it."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from align.generate.errors import GenerationError

OURS, STOCK = "align_qwen", ("qwen2", "Qwen2ForCausalLM")


@contextlib.contextmanager
def readable_by_vllm(model: str | Path) -> Iterator[str]:
    """A folder that holds the same model; `model` itself where vLLM knows its architecture.

    Our Qwen has the weights of transformers' Qwen2 under the same names, but vLLM knows no class of
    ours. So it gets a temporary folder of links to the files, with a config.json that says Qwen2.
    Raises GenerationError for one of ours that vLLM's Qwen2 would compute otherwise.
    """
    folder = Path(model)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if config.get("model_type") != OURS:
        yield str(model)
        return
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if config.get("head_dim", width // heads) * heads != width:
        raise GenerationError(
            f"{path}: vLLM's Qwen2 has heads of hidden_size / num_attention_heads = "
            f"{width / heads:g} features, and this model has head_dim {config['head_dim']}: sample "
            "from it with the local engine"
        )
    with tempfile.TemporaryDirectory(prefix="align-vllm-") as linked:
        for file in folder.iterdir():
            (Path(linked) / file.name).symlink_to(file.resolve())
        config |= {"model_type": STOCK[0], "architectures": [STOCK[1]]}
        (Path(linked) / "config.json").unlink()
        (Path(linked) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        yield linked
