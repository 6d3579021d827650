"""Checkpoints travel to transformers' Qwens and back without losing a field or a bit."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from align.model import (
    CheckpointError,
    QwenConfig,
    QwenMoeConfig,
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
UNUSUAL_EXPERTS = {
    "moe_intermediate_size": 24,
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "decoder_sparse_step": 2,
    "router_aux_loss_coef": 0.0123,
}
NOT_CARRIED = {"model_type", "architectures", "transformers_version"}


def unusual(family: str) -> dict:
    fields = {**UNUSUAL, **(UNUSUAL_EXPERTS if "Moe" in family else {})}
    if family.startswith("Qwen2Moe"):
        shared = 0 if "none" in family else 56
        fields |= {"shared_expert_intermediate_size": shared, "qkv_bias": False}
    if family == "Qwen3Moe":  # it has no such field, and one window for all layers
        del fields["max_window_layers"]
    return fields


def test_every_field_of_the_configuration_travels_both_ways(family):
    config = getattr(transformers, f"{family.split(',')[0]}Config")(**unusual(family))
    theirs = getattr(transformers, f"{family.split(',')[0]}ForCausalLM")(config).bfloat16()
    theirs.generation_config.temperature = 0.123
    ours = from_transformers(theirs)
    back = to_transformers(ours)
    for field, value in theirs.config.to_dict().items():
        if field in NOT_CARRIED:
            continue
        assert back.config.to_dict()[field] == value, field
        if field != "num_local_experts":  # Qwen3-MoE's name on disk for what all call num_experts
            # Qwen2-MoE writes 0 for no window, the others None.
            assert ours.config.to_dict()[field] == (None if field == "sliding_window" else value)
    assert set(back.config.to_dict()) <= set(theirs.config.to_dict())
    assert ours.dtype == back.dtype == torch.bfloat16
    assert ours.generation_config.temperature == back.generation_config.temperature == 0.123


@pytest.mark.parametrize("family", ["Qwen2", "Qwen2Moe"])
def test_our_configuration_survives_saving(tmp_path, family):
    config_class = QwenMoeConfig if "Moe" in family else QwenConfig
    fields = {**unusual(family), "max_window_layers": 1, "layer_windows": [4, None, 8]}
    fields["rope_parameters"] = {
        "rope_type": "yarn",
        "rope_theta": 1e4,
        "factor": 2.0,
        "original_max_position_embeddings": 388,
        "ramp": "rotations",
    }
    config = config_class(**fields)
    config.save_pretrained(tmp_path)
    again = config_class.from_pretrained(tmp_path)
    for field in fields:
        assert getattr(again, field) == getattr(config, field), field


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shard", ["1GB", "50KB"])
def test_safetensors_travel_unchanged_through_ours(stock, tmp_path, family, tied, shard):
    theirs = stock(family, tie_word_embeddings=tied)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=shard)
    ours = load(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours", max_shard_size=shard)
    to_transformers(load(tmp_path / "ours")).save_pretrained(tmp_path / "back")
    expected, back = tensors(tmp_path / "theirs"), tensors(tmp_path / "back")
    assert back.keys() == expected.keys()
    for name in expected:  # a gate in front of an expert of no width says nothing
        if not ("none" in family and name.endswith("shared_expert_gate.weight")):
            assert back[name].equal(expected[name]), name
    packed = tensors(tmp_path / "ours")
    left_out = ("lm_head.weight" if tied else "-", ".shared_expert" if "none" in family else "-")
    assert packed.keys() == {n for n in theirs.state_dict() if not any(o in n for o in left_out)}
    for folder, cls in (("ours", type(ours)), ("back", type(theirs))):
        saved = json.loads((tmp_path / folder / "config.json").read_text())
        assert saved["architectures"] == [cls.__name__]
        model, report = AutoModelForCausalLM.from_pretrained(
            tmp_path / folder, output_loading_info=True
        )
        assert type(model) is cls
        assert not report["missing_keys"] and not report["unexpected_keys"]


def tensors(folder) -> dict[str, torch.Tensor]:
    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}


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


def test_what_transformers_lacks_is_refused_or_announced(stock, caplog):
    model = from_transformers(stock())
    model.config.layer_windows = [4, None, None]
    with pytest.raises(CheckpointError, match="layer_windows"):
        to_transformers(model)
    model.config.layer_windows = None
    model.config.qk_norm = True
    with pytest.raises(CheckpointError, match=r"no family of transformers has .*'qk_norm': True"):
        to_transformers(model)
    model.config.qk_norm, model.config.use_logn_attn = False, True
    with caplog.at_level("WARNING"):
        to_transformers(model)
    assert "use_logn_attn" in caplog.text


def test_biases_that_no_qwen_has_are_refused(stock):
    with pytest.raises(CheckpointError, match="attention_bias True"):
        from_transformers(stock("Qwen3", attention_bias=True))


def test_a_file_cut_short_is_named_with_its_tensor(stock, tmp_path):
    stock().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1000])
    with pytest.raises(
        CheckpointError, match=rf"tensor model.* ends at byte \d+, .* has {len(whole) - 1000}"
    ):
        load(tmp_path)
    file.write_bytes(whole[:100])
    with pytest.raises(CheckpointError, match="truncated in its header"):
        load(tmp_path)


def test_a_shard_that_is_not_there_is_named(stock, tmp_path):
    stock().save_pretrained(tmp_path, max_shard_size="50KB")
    second = sorted(tmp_path.glob("*.safetensors"))[1]
    second.unlink()
    with pytest.raises(CheckpointError, match=second.name):
        load(tmp_path)


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
        (
            lambda w: w.update({"model.norm.weight": torch.ones(7)}),
            r"norm.weight has shape \[7\], expected \[64\]",
        ),
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
