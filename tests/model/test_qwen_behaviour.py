"""What users of a decoder rely on: caching, padding, packing, checkpointing, initialisation."""

from unittest import mock

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

import align.model
from align.model import (
    QwenConfig,
    QwenForCausalLM,
    QwenMoeForCausalLM,
    from_transformers,
    load,
    preset,
)

# Other batch shapes sum in another order; 1e-5 is a few ulps of logits near 10.
CLOSE = {"rtol": 0, "atol": 1e-5}


def test_cached_decoding_equals_one_pass(stock, padded, family):
    model = from_transformers(stock(family))
    tokens = padded["input_ids"][:1]
    whole = model(tokens).logits
    cache, steps = None, []
    for piece in tokens.split([4, 1, 1, 3], dim=1):
        out = model(piece, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        steps.append(out.logits)
    assert cache.get_seq_length() == 9
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, **CLOSE)


def test_left_padding_changes_nothing(stock, padded, family):
    model = from_transformers(stock(family))
    batch = model(padded["input_ids"], attention_mask=padded["attention_mask"]).logits
    alone = model(padded["input_ids"][1:, 4:]).logits
    # Positions start before the padding, so RoPE works at shifted angles: equal but for rounding.
    torch.testing.assert_close(batch[1:, 4:], alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_token_sees_a_later_one(stock, padded, family, attention, dtype):
    model = from_transformers(stock(family, attn_implementation=attention)).to(dtype)
    tokens = padded["input_ids"][:1]
    changed = tokens.clone()
    changed[0, 6] = (changed[0, 6] + 1) % 97
    difference = (model(tokens).logits - model(changed).logits).abs().amax(-1)[0]
    assert difference[:6].max() < 1e-5 and difference[6:].min() > 0


def packed_documents() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    documents = [torch.randint(3, 97, (1, length)) for length in (5, 3, 7)]
    positions = torch.cat([torch.arange(d.shape[1]) for d in documents]).unsqueeze(0)
    return documents, torch.cat(documents, dim=1), positions


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("use_cache", [False, True])
def test_packed_documents_do_not_see_each_other(stock, family, attention, use_cache):
    model = from_transformers(stock(family, attn_implementation=attention))
    documents, row, positions = packed_documents()
    packed = model(row, position_ids=positions, use_cache=use_cache).logits
    alone = torch.cat([model(document).logits for document in documents], dim=1)
    torch.testing.assert_close(packed, alone, **CLOSE)
    one_text = model(row).logits
    assert (one_text - alone).abs().max() > 0.1


def test_transformers_own_model_leaks_between_packed_documents_with_a_cache(stock):
    """Why ours makes the mask before the cache. When this fails, transformers has mended it."""
    model = stock()
    documents, row, positions = packed_documents()
    alone = torch.cat([model(document).logits for document in documents], dim=1)
    leaking = model(row, position_ids=positions, use_cache=True).logits
    assert (leaking - alone).abs().max() > 0.1


@pytest.mark.parametrize("keep", [2, torch.tensor([1, 4])], ids=["count", "tensor"])
def test_logits_to_keep_selects_positions(stock, padded, keep):
    model = from_transformers(stock())
    whole = model(padded["input_ids"]).logits
    expected = whole[:, -keep:] if isinstance(keep, int) else whole[:, keep]
    kept = model(padded["input_ids"], logits_to_keep=keep).logits
    torch.testing.assert_close(kept, expected, **CLOSE)


def test_hidden_states_and_attentions_are_returned_on_request(stock, padded):
    model = from_transformers(stock(attn_implementation="eager"))
    out = model(padded["input_ids"], output_hidden_states=True, output_attentions=True)
    assert len(out.hidden_states) == 4 and len(out.attentions) == 3
    assert out.attentions[0].shape == (2, 4, 9, 9)
    torch.testing.assert_close(out.attentions[0].sum(-1), torch.ones(2, 4, 9))


def test_gradient_checkpointing_recomputes_every_layer_and_keeps_the_gradients(
    stock, padded, family
):
    model = from_transformers(stock(family)).train()
    model(**padded).loss.backward()
    plain = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()

    model.gradient_checkpointing_enable({"use_reentrant": False})
    layer = model.model.layers[0]
    with mock.patch.object(
        type(layer),
        "_gradient_checkpointing_func",
        wraps=layer._gradient_checkpointing_func,
        create=True,
    ) as checkpoint:
        for each in model.model.layers:
            each._gradient_checkpointing_func = checkpoint
        model(**padded).loss.backward()
    assert checkpoint.call_count == 3
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, plain[name], rtol=0, atol=0)


def test_a_document_end_that_doubles_as_padding_still_learns(stock, padded):
    tokens = padded["input_ids"][:1].clone()
    tokens[0, 4] = 0
    grads = []
    for model in (from_transformers(stock(pad_token_id=0)), stock(pad_token_id=0)):
        model(tokens, labels=tokens).loss.backward()
        grads.append(model.model.embed_tokens.weight.grad[0].abs().sum())
    assert grads[0] > 0
    assert grads[1] == 0  # transformers' padding_idx freezes the row


@pytest.mark.parametrize("name", ["tiny", "tiny-moe"])
def test_initialisation_is_normal_with_the_configured_width(name):
    torch.manual_seed(0)
    config = preset(name, vocab_size=512, initializer_range=0.05)
    model = (QwenMoeForCausalLM if "moe" in name else QwenForCausalLM)(config)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            assert weight.eq(0).all(), name
        elif "norm" in name:
            assert weight.eq(1).all(), name
        else:
            assert weight.std().item() == pytest.approx(0.05, rel=0.03), name
            assert abs(weight.mean().item()) < 0.003, name


def test_casting_the_model_leaves_rotary_frequencies_in_fp32(stock):
    model = from_transformers(stock())
    before = model.model.rotary_emb.inv_freq.clone()
    after = model.bfloat16().model.rotary_emb.inv_freq
    assert after.dtype == torch.float32
    assert after.equal(before)
    assert not stock().bfloat16().model.rotary_emb.inv_freq.float().equal(before)


def test_a_model_built_on_the_meta_device_has_its_frequencies_once_loaded(tmp_path, stock):
    model = from_transformers(stock())
    model.save_pretrained(tmp_path)
    for loaded in (load(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)):
        assert loaded.model.rotary_emb.inv_freq.equal(model.model.rotary_emb.inv_freq)
    with torch.device("meta"):
        empty = QwenForCausalLM(model.config)
    frequencies = empty.to_empty(device="cpu").model.rotary_emb.inv_freq
    assert frequencies.equal(model.model.rotary_emb.inv_freq)


def test_class_names_are_not_transformers_own():
    # TRL asks transformers for the architecture's name first, and would load that class instead.
    for name in align.model.__all__:
        assert not hasattr(transformers, name)
    assert QwenConfig().auto_map == {}
    assert QwenForCausalLM._can_set_attn_implementation()


def test_dense_configurations_have_no_router_settings():
    # TRL takes any configuration with `output_router_logits` for a mixture of experts.
    assert not hasattr(preset("tiny"), "output_router_logits")
    assert hasattr(preset("tiny-moe"), "output_router_logits")
