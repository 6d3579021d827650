"""The same weights give the same numbers as transformers' own Qwen2, bit for bit."""

import pytest
import torch
from transformers import set_seed

import align.model.modeling as modeling
from align.model import from_transformers


def assert_bits(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_and_loss_equal_transformers(stock, padded, attention, tied):
    theirs = stock(attn_implementation=attention, tie_word_embeddings=tied)
    ours = from_transformers(theirs)
    assert ours.config._attn_implementation == attention
    expected, got = theirs(**padded), ours(**padded)
    assert_bits(got.logits, expected.logits)
    assert_bits(got.loss, expected.loss)


@pytest.mark.parametrize(
    "fields",
    [
        {"head_dim": 32},
        {"num_key_value_heads": 1},
        {"num_key_value_heads": 4},
        {"rms_norm_eps": 1e-5},
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1e6,
                "factor": 4.0,
                "original_max_position_embeddings": 8192,
            }
        },
    ],
    ids=["wide_heads", "one_key_head", "no_groups", "eps", "yarn"],
)
def test_logits_equal_transformers_across_configurations(stock, padded, fields):
    theirs = stock(**fields)
    assert_bits(from_transformers(theirs)(**padded).logits, theirs(**padded).logits)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_bf16_equals_transformers_in_bf16(stock, padded, tmp_path, attention):
    # Saved and loaded: a cast in place would round the peer's RoPE frequencies.
    stock().bfloat16().save_pretrained(tmp_path)
    theirs = type(stock()).from_pretrained(tmp_path, attn_implementation=attention)
    assert theirs.dtype == torch.bfloat16
    assert_bits(from_transformers(theirs)(**padded).logits, theirs(**padded).logits)


@pytest.mark.parametrize("tied", [True, False])
def test_all_gradients_equal_transformers(stock, padded, tied):
    # With padding_idx in theirs and none in ours: under a mask it makes no difference.
    theirs = stock(tie_word_embeddings=tied, pad_token_id=0)
    ours = from_transformers(theirs)
    theirs(**padded).loss.backward()
    ours(**padded).loss.backward()
    expected = {name: weight.grad for name, weight in theirs.named_parameters()}
    got = {name: weight.grad for name, weight in ours.named_parameters()}
    assert got.keys() == expected.keys()
    for name in expected:
        assert_bits(got[name], expected[name])


@pytest.mark.parametrize(
    "how",
    [
        {"do_sample": False},
        {"do_sample": True, "temperature": 0.8, "top_p": 0.9},
        {"num_beams": 3, "do_sample": False},
        {"do_sample": False, "cache_implementation": "static"},
    ],
    ids=["greedy", "sampled", "beams", "static_cache"],
)
def test_generation_is_token_identical_to_transformers(stock, padded, how):
    theirs = stock()
    prompts = {name: padded[name] for name in ("input_ids", "attention_mask")}
    texts = []
    for model in (theirs, from_transformers(theirs)):
        set_seed(5)
        # The static cache would compile the model, which takes longer than all else here.
        texts.append(
            model.generate(
                **prompts, max_new_tokens=12, pad_token_id=0, disable_compile=True, **how
            )
        )
    assert texts[0].shape[1] == 9 + 12
    assert texts[0].equal(texts[1])


def test_interleaved_rotation_would_be_noticed(stock, padded, monkeypatch):
    theirs = stock()
    ours = from_transformers(theirs)

    def interleaved(x, cos, sin):
        half = x.shape[-1] // 2
        cos, sin = (a[..., :half].repeat_interleave(2, -1).unsqueeze(1) for a in (cos, sin))
        turned = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
        return x * cos + turned * sin

    monkeypatch.setattr(modeling, "rotate", interleaved)
    assert (ours(**padded).logits - theirs(**padded).logits).abs().max() > 0.1


def test_another_epsilon_would_be_noticed(stock, padded):
    theirs = stock(initializer_range=0.02)
    ours = from_transformers(theirs)
    for module in ours.modules():
        if isinstance(module, modeling.QwenRMSNorm):
            module.eps = 1e-5
    assert (ours(**padded).logits - theirs(**padded).logits).abs().max() > 1e-4
