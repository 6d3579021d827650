"""Closed formulas against the published figures, torch's own counter, and what a step keeps."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from align.model import preset
from align.model.sizes import sizes
from tests.model.test_qwen_presets import PUBLISHED

# Billions without embeddings (and head); bytes of keys and values a token in bf16.
TABLE = {
    "qwen1-1.8b": (1.214, 196_608),
    "qwen1-72b": (69.797, 2_621_440),
    "qwen1.5-0.5b": (0.308, 98_304),
    "qwen1.5-4b": (3.172, 409_600),
    "qwen1.5-110b": (108.718, 327_680),
    "qwen1.5-moe-a2.7b": (13.693, 196_608),
    "qwen2.5-0.5b": (0.358, 12_288),
    "qwen2.5-7b": (6.526, 57_344),
    "qwen2.5-72b": (70.215, 327_680),
    "qwen2-57b-a14b": (56.320, 57_344),
    "qwen3-0.6b": (0.440, 114_688),
    "qwen3-32b": (31.206, 262_144),
    "qwen3-30b-a3b": (29.910, 98_304),
    "qwen3-235b-a22b": (233.849, 192_512),
}
ACTIVE = {
    "qwen1.5-moe-a2.7b": 2.689,
    "qwen2-57b-a14b": 14.249,
    "qwen3-30b-a3b": 3.353,
    "qwen3-235b-a22b": 22.191,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_are_the_published_ones(name):
    assert sizes(preset(name)).parameters.total == PUBLISHED[name]


@pytest.mark.parametrize("name", TABLE)
def test_bodies_caches_and_active_parts_are_the_published_ones(name):
    found = sizes(preset(name))
    body, cache = TABLE[name]
    assert found.parameters.non_embedding / 1e9 == pytest.approx(body, abs=6e-4)
    assert found.kv_bytes == cache
    active = ACTIVE.get(name, found.parameters.total / 1e9)
    assert found.parameters.active / 1e9 == pytest.approx(active, abs=6e-4)


SMALL = {"vocab_size": 500, "hidden_size": 64, "num_hidden_layers": 3, "head_dim": 16}
MIXTURE = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "shared_expert_intermediate_size": 48,
    "mlp_only_layers": [1],
}


@pytest.mark.parametrize("tied", [True, False])
def test_flops_are_those_that_torch_counts(tied, by_mkl):  # oneDNN's products it does not count
    config = preset("tiny", **SMALL, qkv_bias=False, tie_word_embeddings=tied)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    tokens = torch.randint(0, 500, (2, 96))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(tokens, use_cache=False)
    # Eager attention computes the whole square, of which a causal model needs half.
    square = 4 * 3 * 4 * 16 * 96
    counted = counter.get_total_flops() / (2 * 96) - square // 2
    # Norms count as weights here and are no products there.
    assert sizes(config, length=96).forward_flops == pytest.approx(counted, rel=0.02)


def kept_bytes(config, rows: int, length: int) -> int:
    """Storages that a step under autocast keeps for backward, weights and their copies apart."""
    model = AutoModelForCausalLM.from_config(config)
    weights = {id(p.untyped_storage()): 0 for p in model.parameters()}
    shapes = {tuple(p.shape) for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        is_weight = tuple(tensor.shape) in shapes or tuple(tensor.shape[::-1]) in shapes
        if id(storage) not in weights and not is_weight and tensor.is_floating_point():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    tokens = torch.randint(0, config.vocab_size, (rows, length))
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        model.model(tokens, use_cache=False).last_hidden_state.sum()
    return sum(kept.values())


@pytest.mark.parametrize("name", ["tiny", "tiny-moe"])
def test_activations_are_what_a_step_keeps(name):
    """At a length where attention keeps no scores; within a sixth, for scales and orders kept."""
    fields = {**SMALL, "hidden_size": 128, "head_dim": 32, **(MIXTURE if "moe" in name else {})}
    config = preset(name, **fields)
    expected = sizes(config, batch=2, length=600).training_memory.activations
    assert kept_bytes(config, 2, 600) == pytest.approx(expected, rel=1 / 6)


def test_states_are_eighteen_bytes_a_parameter():
    found = sizes(preset("qwen2.5-0.5b"))
    assert found.training_memory.states == 18 * found.parameters.total
    twice = sizes(preset("qwen2.5-0.5b"), batch=2).training_memory
    assert twice.activations == 2 * found.training_memory.activations
    assert twice.checkpointed < twice.activations
