"""A small model of ours, and what must be there before vLLM can be tested.

The folder must not be called `vllm`: `tests` is on the import path while the tests of its own files
run, and TRL would take such a folder for an installed vLLM.
"""

import importlib.util
from pathlib import Path

import pytest
import torch
from small import CONTEXT, ENDS, VOCABULARY, tokenizer

from align.generate import LocalEngine
from align.model import QwenConfig, QwenForCausalLM

if importlib.util.find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A random Qwen of ours, in float32."""
    torch.manual_seed(0)
    config = QwenConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        eos_token_id=ENDS[0],
    )
    model = QwenForCausalLM(config).eval()
    model.generation_config.eos_token_id = ENDS
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def local(model_folder) -> LocalEngine:
    return LocalEngine(model_folder, fingerprint="tiny", device="cpu")
