"""A small model of ours, and what must be there before vLLM can be tested.

The folder must not be called `vllm`: `tests` is on the import path while the tests of its own files
run, and TRL would take such a folder for an installed vLLM.
"""

import importlib.util
from pathlib import Path

import pytest
import torch
from small import CONTEXT, ENDS, VOCABULARY, tokenizer
from transformers import AutoModelForCausalLM

from align.generate import LocalEngine
from align.model import QwenConfig, QwenMoeConfig

if importlib.util.find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]


def random_model(folder: Path, **fields) -> Path:
    """A random Qwen of ours with its tokenizer, in float32."""
    torch.manual_seed(0)
    config_class = QwenMoeConfig if "num_experts" in fields else QwenConfig
    config = config_class(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": CONTEXT,
            "initializer_range": 0.3,
            "eos_token_id": ENDS[0],
            **fields,
        }
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    model.generation_config.eos_token_id = ENDS
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    return random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def local(model_folder) -> LocalEngine:
    return LocalEngine(model_folder, fingerprint="tiny", device="cpu")
