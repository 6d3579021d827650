"""RoPE's stretched forms against their papers' numbers, and transformers where it has them."""

import math

import pytest
import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from align.model import QwenConfig, QwenForCausalLM, preset
from align.model.long_context import logn_scale
from align.model.rope import QwenRotaryEmbedding, inverse_frequencies, ntk_growth


def yarn(base, length, factor, width, **more) -> tuple[QwenConfig, torch.Tensor, float]:
    config = preset(
        "tiny",
        head_dim=width,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": base,
            "factor": factor,
            "original_max_position_embeddings": length,
            **more,
        },
    )
    frequencies, temperature = QwenRotaryEmbedding(config).inverse_frequencies()
    return config, frequencies / inverse_frequencies(base, width), temperature


# Base, trained length, factor, head_dim; the ramp's ends; a feature between them with its ratio by
# dimension and, where known, by rotations (arXiv 2309.00071 against its released code).
RAMPS = [
    (1e6, 32_768, 4.0, 128, 23, 40, 31, 0.64706, 0.38238),
    (1e4, 4096, 16.0, 128, 20, 46, 33, 0.53125, 0.20298),
    (1e6, 32_768, 4.0, 64, 11, 20, 15, 0.66667, None),
]


@pytest.mark.parametrize(
    ("base", "length", "factor", "width", "kept", "cut", "at", "by", "_"), RAMPS
)
def test_yarn_as_released_ramps_over_dimensions(base, length, factor, width, kept, cut, at, by, _):
    config, ratio, temperature = yarn(base, length, factor, width)
    torch.testing.assert_close(ratio[: kept + 1], torch.ones(kept + 1))
    torch.testing.assert_close(ratio[cut:], torch.full((width // 2 - cut,), 1 / factor))
    assert ratio[at].item() == pytest.approx(by, abs=5e-6)
    assert temperature == pytest.approx(0.1 * math.log(factor) + 1)
    theirs, attention = ROPE_INIT_FUNCTIONS["yarn"](config, None)
    torch.testing.assert_close(QwenRotaryEmbedding(config).inv_freq, theirs, rtol=0, atol=0)
    assert temperature == attention


@pytest.mark.parametrize(
    ("base", "length", "factor", "width", "at", "expected"),
    [(row[0], row[1], row[2], row[3], row[6], row[8]) for row in RAMPS if row[8]],
)
def test_yarn_as_written_ramps_over_rotations(base, length, factor, width, at, expected):
    _, ratio, temperature = yarn(base, length, factor, width, ramp="rotations")
    assert ratio[at].item() == pytest.approx(expected, abs=5e-6)
    assert ratio[0] == 1 and ratio[-1].item() == pytest.approx(1 / factor)
    assert temperature == pytest.approx(0.1 * math.log(factor) + 1)


@pytest.mark.parametrize(
    ("factor", "expected"), [(2.0, 1.069315), (4.0, 1.138629), (8.0, 1.207944), (16.0, 1.277259)]
)
def test_yarns_temperature_scales_queries_and_keys(factor, expected):
    config, _, temperature = yarn(1e6, 32_768, factor, 128)
    assert temperature == pytest.approx(expected, abs=1e-6)
    cos, sin = QwenRotaryEmbedding(config)(torch.zeros(1, 1, dtype=torch.long), torch.float32)
    assert cos.max().item() == pytest.approx(expected, abs=1e-6) and sin.abs().max() == 0


NTK = {"rope_type": "dynamic_ntk", "rope_theta": 1e4, "original_max_position_embeddings": 2048}


@pytest.mark.parametrize(
    ("length", "growth", "times"),
    [
        (1, 1, 1.0),
        (2048, 1, 1.0),
        (2049, 3, 3.05277),
        (4096, 3, 3.05277),
        (8192, 7, 7.21959),
        (16_384, 15, 15.65883),
    ],
)
def test_qwen1_grows_its_base_at_every_doubling(length, growth, times):
    assert ntk_growth(NTK, torch.tensor([float(length)]), 8192).item() == growth
    rotary = QwenRotaryEmbedding(preset("qwen1-7b", num_hidden_layers=1))
    at = torch.tensor([[1]])
    cos, _ = rotary(at, torch.float32, torch.tensor([length]))
    # The second feature turns by base^(-2/h) radians a token.
    angle = torch.arccos(cos[0, 0, 1]).item()
    assert angle == pytest.approx((1e4 * times) ** (-2 / 128), rel=1e-4)


def test_transformers_dynamic_form_meets_qwen1s_at_four_times_the_length():
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    lengths = torch.tensor([2048.0, 5000.0, 8192.0])
    growth = ntk_growth(rope, lengths, 2048)
    assert growth[0] == 1 and growth[2] == 7
    assert growth[1].item() == pytest.approx(2 * 5000 / 2048 - 1)


@pytest.mark.parametrize(
    ("number", "expected"), [(1, 1.0), (2048, 1.0), (8192, 1.181818), (16_384, 1.272727)]
)
def test_logn_scales_queries_beyond_the_trained_length(number, expected):
    scale = logn_scale(torch.tensor([number - 1]), 2048)
    assert scale.item() == pytest.approx(expected, abs=1e-6)


def qwen1(layers: int, **fields) -> QwenForCausalLM:
    torch.manual_seed(0)
    config = preset(
        "qwen1-1.8b",
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        vocab_size=53,
        initializer_range=0.2,
        rope_parameters={**NTK, "original_max_position_embeddings": 16},
        **fields,
    )
    return QwenForCausalLM(config).eval()


def decoded(model, tokens, cache=None):
    """The logits of each token, read one at a time."""
    steps = []
    for token in tokens.split(1, dim=1):
        out = model(token, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        steps.append(out.logits)
    return torch.cat(steps, 1)


def test_keys_are_turned_anew_when_the_base_grows():
    """One layer, so that nothing cached but the keys depends on the length at the time."""
    model = qwen1(layers=1)
    tokens = torch.randint(0, 53, (2, 70))
    steps = decoded(model, tokens)
    for length in (5, 16, 17, 33, 64, 70):
        whole = model(tokens[:, :length]).logits[:, -1]
        torch.testing.assert_close(steps[:, length - 1], whole, rtol=0, atol=1e-5)


def test_within_the_trained_length_qwen1_needs_none_of_its_tricks():
    model = qwen1(layers=2, layer_windows=[16, 64])
    tokens = torch.randint(0, 53, (2, 16))
    plain = preset("qwen1-1.8b", **{
        **{name: getattr(model.config, name) for name in (
            "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "vocab_size",
        )},
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        "use_logn_attn": False,
    })  # fmt: skip
    same = QwenForCausalLM(plain).eval()
    same.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(tokens).logits, same(tokens).logits, rtol=0, atol=1e-5)


def test_rows_grow_by_their_own_length():
    model = qwen1(layers=2)
    tokens = torch.randint(1, 53, (1, 40))
    short = torch.cat([torch.zeros(1, 30, dtype=torch.long), tokens[:, :10]], 1)
    mask = torch.ones(2, 40, dtype=torch.long)
    mask[1, :30] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    batch = model(torch.cat([tokens, short]), attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(batch[:1], model(tokens).logits, rtol=0, atol=1e-5)
    alone = model(tokens[:, :10]).logits
    torch.testing.assert_close(batch[1:, 30:], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_each_layer_sees_its_own_window(attention):
    model = qwen1(layers=1, layer_windows=[4], use_logn_attn=False)
    model.set_attn_implementation(attention)
    tokens = torch.randint(0, 53, (1, 12))
    changed = tokens.clone()
    changed[0, 3] = (changed[0, 3] + 1) % 53
    difference = (model(tokens).logits - model(changed).logits).abs().amax(-1)[0]
    assert difference[:3].eq(0).all() and difference[3:7].gt(0).all()
    assert difference[7:].eq(0).all()
    torch.testing.assert_close(decoded(model, tokens), model(tokens).logits, rtol=0, atol=1e-5)
