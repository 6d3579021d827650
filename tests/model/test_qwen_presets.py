"""Presets have the published sizes, and wrong configurations are named."""

import pytest
import torch

from align.model import (
    PRESETS,
    ModelConfigError,
    QwenConfig,
    QwenForCausalLM,
    QwenMoeConfig,
    QwenMoeForCausalLM,
    preset,
)

# Exact totals of the published checkpoints, tied weights counted once. Qwen1.5's 1.8B, 7B, 14B and
# 72B have the layers of Qwen1's.
PUBLISHED = {
    "qwen1-1.8b": 1_836_828_672,
    "qwen1-7b": 7_721_324_544,
    "qwen1-14b": 14_167_290_880,
    "qwen1-72b": 72_287_920_128,
    "qwen1.5-0.5b": 463_987_712,
    "qwen1.5-1.8b": 1_836_828_672,
    "qwen1.5-4b": 3_950_369_280,
    "qwen1.5-7b": 7_721_324_544,
    "qwen1.5-14b": 14_167_290_880,
    "qwen1.5-32b": 32_512_218_112,
    "qwen1.5-72b": 72_287_920_128,
    "qwen1.5-110b": 111_209_914_368,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "qwen2-0.5b": 494_032_768,
    "qwen2-1.5b": 1_543_714_304,
    "qwen2-7b": 7_615_616_512,
    "qwen2-72b": 72_706_203_648,
    "qwen2-57b-a14b": 57_408_658_944,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen2.5-7b-1m": 7_615_616_512,
    "qwen2.5-14b-1m": 14_770_033_664,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-235b-a22b": 235_093_634_560,
}


def count(config: QwenConfig) -> int:
    cls = QwenMoeForCausalLM if isinstance(config, QwenMoeConfig) else QwenForCausalLM
    with torch.device("meta"):
        return sum(weight.numel() for weight in cls(config).parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_equal_the_published_ones(name):
    assert count(preset(name)) == PUBLISHED[name]


def test_every_published_preset_is_counted():
    assert set(PRESETS) == {*PUBLISHED, "tiny", "tiny-moe"}


def test_generations_differ_in_what_their_reports_say():
    first, second, third = preset("qwen1-7b"), preset("qwen2.5-7b"), preset("qwen3-8b")
    assert first.num_key_value_heads == first.num_attention_heads
    assert first.rope_parameters["rope_type"] == "dynamic_ntk"
    assert first.rope_parameters["rope_theta"] == 1e4
    assert first.use_logn_attn and first.qkv_bias and not first.qk_norm
    assert second.num_key_value_heads == 4
    assert second.rope_parameters == {"rope_type": "default", "rope_theta": 1e6}
    assert second.rms_norm_eps == 1e-6
    assert second.qkv_bias and not second.qk_norm
    assert third.qk_norm and not third.qkv_bias
    assert preset("qwen3-0.6b").head_dim * 16 == 2 * preset("qwen3-0.6b").hidden_size
    assert preset("qwen2.5-7b-1m").rope_parameters["rope_theta"] == 1e7


def test_overrides_replace_fields():
    config = preset("tiny", vocab_size=512)
    body = 4 * (
        192 * 192 * 2 + 192 * 96 * 2 + 192 + 96 * 2  # q, o, k, v and the biases of q, k, v
        + 3 * 192 * 512 + 2 * 192
    ) + 192  # fmt: skip
    assert count(config) == 512 * 192 + body


def test_a_preset_is_no_one_elses_to_change():
    preset("qwen3-8b").rope_parameters["rope_theta"] = 5.0
    assert preset("qwen3-8b").rope_parameters["rope_theta"] == 1e6


CHUNKS = {"chunk_size": 64, "local_size": 16, "original_max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: preset("qwen2.5-7"), "did you mean 'qwen2.5-7b'"),
        (lambda: preset("zzz"), "known: tiny"),
        (lambda: preset("tiny", hidden_sise=4), "did you mean 'hidden_size'"),
        (lambda: preset("tiny", num_experts=4), "QwenConfig has no field 'num_experts'"),
        (lambda: preset("tiny", hidden_size=190), "hidden_size 190 is not a multiple"),
        (lambda: preset("tiny", num_key_value_heads=3), "num_key_value_heads 3"),
        (lambda: preset("tiny", head_dim=31), "head_dim 31 is odd"),
        (lambda: preset("tiny", hidden_act="gelu"), "hidden_act 'gelu'"),
        (lambda: preset("tiny", layer_windows=[8]), "layer_windows names 1 layers"),
        (
            lambda: preset("tiny", layer_windows=[8] * 4, use_sliding_window=True),
            "layer_windows and use_sliding_window",
        ),
        (lambda: preset("tiny", layer_windows=[0, 8, 8, 8]), "a window of 0 tokens"),
        (lambda: QwenConfig(rope_parameters={"rope_type": "llama3"}), "'llama3' is not supported"),
        (lambda: QwenConfig(rope_parameters={"rope_type": "yarn"}), "'yarn' needs factor"),
        (
            lambda: QwenConfig(rope_parameters={"rope_type": "linear", "factor": 0.5}),
            "factor 0.5: expected at least 1",
        ),
        (
            lambda: QwenConfig(
                rope_parameters={
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 32,
                    "ramp": "wavy",
                }
            ),
            "ramp 'wavy'",
        ),
        (
            lambda: preset("tiny", dual_chunk_attention_config={**CHUNKS, "local_size": 64}),
            "local_size 64",
        ),
        (
            lambda: preset("tiny", dual_chunk_attention_config=CHUNKS, layer_windows=[32] * 4),
            "chunks and selected keys reach farther",
        ),
        (
            lambda: preset("tiny", dual_chunk_attention_config=CHUNKS, sparse_attention_config={}),
            "dual_chunk_attention_config beside sparse_attention_config",
        ),
        (
            lambda: preset("tiny", dual_chunk_attention_config=CHUNKS, attention_dropout=0.1),
            "attention_dropout 0.1 beside dual_chunk",
        ),
        (
            lambda: preset(
                "tiny",
                dual_chunk_attention_config={**CHUNKS, "original_max_position_embeddings": 47},
            ),
            "expected at least a chunk's 48 tokens",
        ),
        (
            lambda: preset(
                "tiny",
                dual_chunk_attention_config=CHUNKS,
                rope_parameters={
                    "rope_type": "yarn",
                    "rope_theta": 1e6,
                    "factor": 4.0,
                    "original_max_position_embeddings": 32,
                },
            ),
            "temperature True beside rope_type 'yarn'",
        ),
        (lambda: preset("tiny-moe", num_experts_per_tok=17), "num_experts_per_tok 17"),
        (lambda: preset("tiny-moe", balance_over="layer"), "balance_over 'layer'"),
        (lambda: preset("tiny-moe", mlp_only_layers=[0, 1, 2, 3]), "no layer with experts"),
    ],
)
def test_impossible_configurations_are_named(call, message):
    with pytest.raises(ModelConfigError, match=message):
        call()
