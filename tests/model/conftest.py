"""A small stock Qwen2 model to hold ours against."""

from collections.abc import Callable

import pytest
import torch
import transformers
from transformers import Qwen2Config, Qwen2ForCausalLM

VOCAB = 97


@pytest.fixture(autouse=True)
def quiet_loading():
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture
def stock() -> Callable[..., Qwen2ForCausalLM]:
    """Builds a random Qwen2; biases and norms are random too, as zeros and ones hide bugs."""

    def build(**fields) -> Qwen2ForCausalLM:
        torch.manual_seed(0)
        sizes = {
            "vocab_size": VOCAB,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_theta": 1e6,
            "initializer_range": 0.2,
        }
        attention = fields.pop("attn_implementation", "sdpa")
        config = Qwen2Config(**{**sizes, **fields}, attn_implementation=attention)
        model = Qwen2ForCausalLM(config).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith("bias") or "norm" in name:
                    weight.add_(torch.randn_like(weight) * 0.2)
        return model

    return build


@pytest.fixture
def padded() -> dict[str, torch.Tensor]:
    """Two rows of 9 and 5 tokens, padded on the left; padding neither is nor predicts a label."""
    torch.manual_seed(1)
    tokens = torch.randint(3, VOCAB, (2, 9))
    mask = torch.ones_like(tokens)
    mask[1, :4] = 0
    tokens[1, :4] = 0
    labels = tokens.clone()
    labels[1, :5] = -100
    return {"input_ids": tokens, "attention_mask": mask, "labels": labels}
