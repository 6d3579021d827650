"""Presets have the published sizes, and wrong configurations are named."""

import pytest
import torch

from align.model import PRESETS, ModelConfigError, QwenConfig, QwenForCausalLM, preset

# Exact totals of the published checkpoints, tied weights counted once.
PUBLISHED = {
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
}


def count(config: QwenConfig) -> int:
    with torch.device("meta"):
        return sum(weight.numel() for weight in QwenForCausalLM(config).parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_equal_the_published_ones(name):
    assert count(preset(name)) == PUBLISHED[name]


def test_every_published_preset_is_counted():
    assert set(PRESETS) == {*PUBLISHED, "tiny"}


def test_constants_are_those_of_qwen2_5():
    config = preset("Qwen2.5-7B")
    assert config.rms_norm_eps == 1e-6
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 1e6}
    assert config.head_dim == 128


def test_overrides_replace_fields():
    config = preset("tiny", vocab_size=512)
    body = 4 * (
        192 * 192 * 2 + 192 * 96 * 2 + 192 + 96 * 2  # q, o, k, v and the biases of q, k, v
        + 3 * 192 * 512 + 2 * 192
    ) + 192  # fmt: skip
    assert count(config) == 512 * 192 + body


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: preset("qwen2.5-7"), "did you mean 'qwen2.5-7b'"),
        (lambda: preset("zzz"), "known: tiny"),
        (lambda: preset("tiny", hidden_sise=4), "did you mean 'hidden_size'"),
        (lambda: preset("tiny", hidden_size=190), "hidden_size 190 is not a multiple"),
        (lambda: preset("tiny", num_key_value_heads=3), "num_key_value_heads 3"),
        (lambda: preset("tiny", head_dim=31), "head_dim 31 is odd"),
        (lambda: QwenConfig(use_sliding_window=True), "use_sliding_window"),
        (lambda: QwenConfig(rope_parameters={"rope_type": "dynamic", "factor": 2.0}), "'dynamic'"),
    ],
)
def test_impossible_configurations_are_named(call, message):
    with pytest.raises(ModelConfigError, match=message):
        call()
