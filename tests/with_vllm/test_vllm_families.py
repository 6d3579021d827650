"""vLLM reads what we saved, of every family, and says the same."""

import pytest
from conftest import random_model
from small import answered, conversations

from align.generate import LocalEngine
from align.generate.vllm_engine import VllmEngine

pytestmark = pytest.mark.vllm

EXPERTS = {
    "moe_intermediate_size": 32,
    "num_experts": 8,
    "num_experts_per_tok": 2,
}
FAMILIES = {
    "qwen3": {"qk_norm": True, "qkv_bias": False, "head_dim": 64},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 64},
    "qwen2_moe, none shared": EXPERTS,
    "qwen3_moe": {
        **EXPERTS,
        "norm_topk_prob": True,
        "qk_norm": True,
        "qkv_bias": False,
        "head_dim": 64,
    },
}


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_tokens_of_a_saved_model_are_the_same_in_vllm(tmp_path, name):
    folder = random_model(tmp_path, **FAMILIES[name])
    prompts = conversations(12)
    ours = answered(LocalEngine(folder, fingerprint=name, device="cpu"), prompts)
    with VllmEngine(
        folder,
        fingerprint=name,
        dtype="float32",
        enforce_eager=True,
        kv_cache_memory_bytes=64 * 2**20,
        max_num_seqs=16,
    ) as engine:
        theirs = answered(engine, prompts)
    for place, expected in ours.items():
        assert theirs[place].token_ids == expected.token_ids
        assert theirs[place].logps == pytest.approx(expected.logps, abs=1e-3)
