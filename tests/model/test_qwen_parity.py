"""The same weights give the same numbers as transformers' own Qwen classes.

Dense models do the same operations in the same order, so logits have the same bits. A mixture of
experts adds up its experts in another order, and gradients are taken by other formulas: equal but
for rounding, which is below 1e-5 in fp32 at these sizes.
"""

import pytest
import torch
from transformers import set_seed

import align.model.attention as attention_module
from align.model import from_transformers, linear
from align.model.layers import QwenRMSNorm

pytestmark = pytest.mark.usefixtures("by_mkl")
ROUNDING = {"rtol": 0, "atol": 1e-5}
BITS = {"rtol": 0, "atol": 0}


def assert_equal(ours: torch.Tensor, theirs: torch.Tensor, family: str = "Qwen2") -> None:
    torch.testing.assert_close(ours, theirs, **(ROUNDING if "Moe" in family else BITS))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_states_and_loss_equal_transformers(stock, padded, family, attention, tied):
    theirs = stock(family, attn_implementation=attention, tie_word_embeddings=tied)
    ours = from_transformers(theirs)
    assert ours.config._attn_implementation == attention
    expected, got = (model(**padded, output_hidden_states=True) for model in (theirs, ours))
    assert_equal(got.logits, expected.logits, family)
    torch.testing.assert_close(got.loss, expected.loss, **ROUNDING)
    for mine, peer in zip(got.hidden_states, expected.hidden_states, strict=True):
        assert_equal(mine, peer, family)


def test_right_padding_equals_transformers(stock, padded, family):
    theirs = stock(family)
    right = {name: padded[name].flip(1) for name in ("input_ids", "attention_mask")}
    real = right["attention_mask"].bool()
    expected, got = theirs(**right).logits, from_transformers(theirs)(**right).logits
    assert_equal(got[real], expected[real], family)


@pytest.mark.parametrize(
    "fields",
    [
        {"head_dim": 16},
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
    ids=["narrow_heads", "one_key_head", "no_groups", "eps", "yarn"],
)
def test_logits_equal_transformers_across_configurations(stock, padded, family, fields):
    theirs = stock(family, **fields)
    assert_equal(from_transformers(theirs)(**padded).logits, theirs(**padded).logits, family)


@pytest.mark.parametrize(
    "fields",
    [
        {"norm_topk_prob": True},
        {"num_experts_per_tok": 1},
        {"num_experts_per_tok": 8},
        {"decoder_sparse_step": 2},
        {"qkv_bias": False},
    ],
)
def test_logits_equal_transformers_across_mixtures(stock, padded, fields):
    theirs = stock("Qwen2Moe", **fields)
    assert_equal(from_transformers(theirs)(**padded).logits, theirs(**padded).logits, "Qwen2Moe")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_windows_equal_transformers(stock, padded, family, attention):
    first = {} if family == "Qwen3Moe" else {"max_window_layers": 1}
    theirs = stock(
        family,
        attn_implementation=attention,
        use_sliding_window=True,
        sliding_window=3,
        **first,
    )
    ours = from_transformers(theirs)
    real = padded["attention_mask"].bool()
    got, expected = ours(**padded).logits[real], theirs(**padded).logits[real]
    assert_equal(got, expected, family)
    full = from_transformers(stock(family, attn_implementation=attention))
    assert (full(**padded).logits[real] - got).abs().max() > 1e-2


def in_bf16(stock, tmp_path, **settings):
    # Saved and loaded: a cast in place would round the peer's RoPE frequencies.
    stock(**settings).bfloat16().save_pretrained(tmp_path)
    theirs = type(stock(**settings)).from_pretrained(
        tmp_path, attn_implementation=settings["attn_implementation"]
    )
    assert theirs.dtype == torch.bfloat16
    return theirs


@pytest.mark.parametrize("family", ["Qwen2", "Qwen3"])
def test_bf16_equals_transformers_bit_for_bit(stock, padded, tmp_path, family):
    theirs = in_bf16(stock, tmp_path, family=family, attn_implementation="eager")
    assert_equal(from_transformers(theirs)(**padded).logits, theirs(**padded).logits)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_bf16_is_as_close_to_fp32_as_transformers(stock, padded, tmp_path, family, attention):
    """Where operations differ: short attention on a CPU, and the router, which is fp32 in ours.

    By the median token: where two experts score alike, rounding sends a few to another one.
    """
    theirs = in_bf16(stock, tmp_path, family=family, attn_implementation=attention)
    ours = from_transformers(theirs)
    exact = from_transformers(theirs).float()
    real = padded["attention_mask"].bool()
    expected = exact(**padded).logits[real]
    errors = [
        (model(**padded).logits[real] - expected).norm(dim=-1).median() for model in (ours, theirs)
    ]
    assert errors[0] < 1.5 * errors[1]


@pytest.mark.parametrize("tied", [True, False])
def test_all_gradients_equal_transformers(stock, padded, family, tied):
    # With padding_idx in theirs and none in ours: under a mask it makes no difference.
    theirs = stock(family, tie_word_embeddings=tied, pad_token_id=0)
    ours = from_transformers(theirs)
    theirs(**padded).loss.backward()
    ours(**padded).loss.backward()
    expected = {name: weight.grad for name, weight in theirs.named_parameters()}
    got = {name: weight.grad for name, weight in ours.named_parameters()}
    without = {n for n in expected if "none shared" in family and ".shared_expert" in n}
    assert got.keys() == expected.keys() - without
    for name in got:
        torch.testing.assert_close(got[name], expected[name], **ROUNDING)


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
def test_generation_is_token_identical_to_transformers(stock, padded, family, how):
    theirs = stock(family)
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

    monkeypatch.setattr(attention_module, "rotate", interleaved)
    assert (ours(**padded).logits - theirs(**padded).logits).abs().max() > 0.1


def test_another_epsilon_would_be_noticed(stock, padded, family):
    theirs = stock(family, initializer_range=0.02)
    ours = from_transformers(theirs)
    for module in ours.modules():
        if isinstance(module, QwenRMSNorm):
            module.eps = 1e-5
    assert (ours(**padded).logits - theirs(**padded).logits).abs().max() > 1e-4


def test_unnormalised_expert_weights_would_be_noticed(stock, padded):
    theirs = stock("Qwen3Moe")
    ours = from_transformers(theirs)
    for module in ours.modules():
        if hasattr(module, "norm_topk_prob"):
            module.norm_topk_prob = False
    assert (ours(**padded).logits - theirs(**padded).logits).abs().max() > 0.1


def test_onednn_differs_from_mkl_by_rounding(stock, padded, family, monkeypatch):
    """On processors where fp32 products go to oneDNN; elsewhere too, if told to."""
    theirs = stock(family)
    ours = from_transformers(theirs)
    monkeypatch.setattr(linear, "ONEDNN", True)
    monkeypatch.setattr(linear, "MIN_PRODUCTS", 1)
    for model in (theirs, ours):
        model(**padded).loss.backward()
    real = padded["attention_mask"].bool()
    got, expected = ours(**padded).logits[real], theirs(**padded).logits[real]
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    grads = {name: weight.grad for name, weight in theirs.named_parameters()}
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, grads[name], rtol=1e-4, atol=1e-5)
