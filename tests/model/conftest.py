"""Small models of transformers' own Qwen families to hold ours against."""

from collections.abc import Callable

import pytest
import torch
import transformers
from transformers import PreTrainedModel

from align.model import linear

VOCAB = 97
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_theta": 1e6,
    "initializer_range": 0.2,
}
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 3}
FAMILIES = {
    "Qwen2": {},
    "Qwen3": {"head_dim": 32},
    "Qwen2Moe": {**EXPERTS, "shared_expert_intermediate_size": 48},
    "Qwen2Moe, none shared": {**EXPERTS, "shared_expert_intermediate_size": 0},
    "Qwen3Moe": {**EXPERTS, "head_dim": 32, "norm_topk_prob": True, "mlp_only_layers": [1]},
}


@pytest.fixture(autouse=True)
def quiet_loading():
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture
def stock() -> Callable[..., PreTrainedModel]:
    """Builds a random model; biases and norms are random too, as zeros and ones hide bugs."""

    def build(family: str = "Qwen2", head: str = "CausalLM", **fields) -> PreTrainedModel:
        torch.manual_seed(0)
        attention = fields.pop("attn_implementation", "sdpa")
        name = family.split(",")[0]
        config = getattr(transformers, f"{name}Config")(
            **{**SIZES, **FAMILIES[family], **fields}, attn_implementation=attention
        )
        model = getattr(transformers, f"{name}For{head}")(config).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith("bias") or "norm" in name:
                    weight.add_(torch.randn_like(weight) * 0.2)
        return model

    return build


@pytest.fixture
def by_mkl(monkeypatch):
    """The products that torch itself takes, as transformers does: then bits can be compared."""
    monkeypatch.setattr(linear, "ONEDNN", False)


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


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
