"""Checkpoints travel to transformers' Qwen2 and back without losing a field or a bit."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from align.model import (
    CheckpointError,
    ModelConfigError,
    QwenConfig,
    QwenForCausalLM,
    from_transformers,
    load,
    to_transformers,
)

UNUSUAL = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 777,
    "initializer_range": 0.017,
    "rms_norm_eps": 3e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 12345.0},
    "attention_dropout": 0.25,
    "tie_word_embeddings": True,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": [3, 4],
    "max_window_layers": 2,
    "id2label": {0: "bad", 1: "fair", 2: "good"},
    "dtype": "bfloat16",
}
NOT_CARRIED = {"model_type", "architectures", "transformers_version"}


def test_every_field_of_the_configuration_travels_both_ways():
    theirs = Qwen2ForCausalLM(Qwen2Config(**UNUSUAL)).bfloat16()
    theirs.generation_config.temperature = 0.123
    ours = from_transformers(theirs)
    back = to_transformers(ours)
    for field, value in theirs.config.to_dict().items():
        if field in NOT_CARRIED:
            continue
        assert back.config.to_dict()[field] == value, field
        if field != "layer_types":  # follows from the number of layers
            assert ours.config.to_dict()[field] == value, field
    assert set(back.config.to_dict()) <= set(theirs.config.to_dict())
    assert ours.dtype == back.dtype == torch.bfloat16
    assert ours.generation_config.temperature == back.generation_config.temperature == 0.123


def test_our_configuration_survives_saving(tmp_path):
    fields = {k: v for k, v in UNUSUAL.items() if k != "max_window_layers"}
    config = QwenConfig(**fields)
    config.save_pretrained(tmp_path)
    again = QwenConfig.from_pretrained(tmp_path)
    for field in fields:
        assert getattr(again, field) == getattr(config, field), field


@pytest.mark.parametrize("tied", [True, False])
def test_safetensors_travel_unchanged_through_ours(stock, tmp_path, tied):
    theirs = stock(tie_word_embeddings=tied)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    to_transformers(load(tmp_path / "ours")).save_pretrained(tmp_path / "back")
    expected = load_file(tmp_path / "theirs/model.safetensors")
    for folder in ("ours", "back"):
        got = load_file(tmp_path / folder / "model.safetensors")
        assert got.keys() == expected.keys()
        assert all(got[name].equal(expected[name]) for name in expected)
    assert json.loads((tmp_path / "ours/config.json").read_text())["architectures"] == [
        "QwenForCausalLM"
    ]
    exported = json.loads((tmp_path / "back/config.json").read_text())
    assert exported["model_type"] == "qwen2"
    assert exported["architectures"] == ["Qwen2ForCausalLM"]
    assert type(AutoModelForCausalLM.from_pretrained(tmp_path / "ours")) is QwenForCausalLM
    assert type(AutoModelForCausalLM.from_pretrained(tmp_path / "back")) is Qwen2ForCausalLM


def test_copies_do_not_share_weights(stock):
    theirs = stock(tie_word_embeddings=True)
    ours = from_transformers(theirs)
    before = theirs.lm_head.weight.clone()
    ours.lm_head.weight.data.add_(1)
    assert theirs.lm_head.weight.equal(before)
    assert ours.lm_head.weight is ours.model.embed_tokens.weight


def test_load_turns_the_cache_on_again(stock, tmp_path):
    model = from_transformers(stock())
    model.config.use_cache = False
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["use_cache"] is False
    assert load(tmp_path).config.use_cache is True


def test_load_casts_to_the_dtype_asked_for(stock, tmp_path):
    stock().save_pretrained(tmp_path)
    assert load(tmp_path).dtype == torch.float32
    assert load(tmp_path, dtype=torch.bfloat16, attn_implementation="eager").dtype == torch.bfloat16


def test_sliding_windows_are_refused(stock, tmp_path):
    theirs = stock(use_sliding_window=True, sliding_window=4, max_window_layers=1)
    theirs.save_pretrained(tmp_path)
    for attempt in (lambda: load(tmp_path), lambda: from_transformers(theirs)):
        with pytest.raises(ModelConfigError, match="use_sliding_window=True is not supported"):
            attempt()


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere: neither a folder"):
        load(tmp_path / "nowhere")


def test_another_family_is_refused(tmp_path):
    sizes = {"vocab_size": 16, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    llama = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2))
    llama.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="model_type 'llama'"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="LlamaForCausalLM, expected Qwen2ForCausalLM"):
        from_transformers(llama)
    with pytest.raises(CheckpointError, match="expected QwenForCausalLM"):
        to_transformers(llama)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.pop("model.layers.1.mlp.up_proj.weight"), "missing_keys: .*1.mlp.up_proj"),
        (lambda w: w.pop("lm_head.weight"), "missing_keys: .*lm_head.weight"),
        (lambda w: w.update({"model.extra.weight": torch.ones(2)}), "unexpected_keys: .*extra"),
        (lambda w: w.update({"model.norm.weight": torch.ones(7)}), "mismatched_keys: .*norm"),
    ],
    ids=["missing", "missing_head", "left_over", "wrong_shape"],
)
def test_weights_that_do_not_fit_are_an_error(stock, tmp_path, damage, message):
    stock(tie_word_embeddings=False).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    damage(weights)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("architectures", [None, ["Qwen2ForTokenClassification"]])
def test_an_unknown_head_is_refused(stock, tmp_path, architectures):
    stock().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": architectures}))
    with pytest.raises(CheckpointError, match="expected one of QwenForCausalLM"):
        load(tmp_path)
