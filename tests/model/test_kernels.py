"""Hand-written gradients are those that autograd finds for the same operation written out."""

import pytest
import torch
from torch.nn import functional as F
from transformers.loss.loss_utils import ForCausalLMLoss

from align.model.attention import short_attention
from align.model.kernels import CrossEntropy, RMSNorm, SwiGLU, causal_lm_loss
from align.model.rope import inverse_frequencies, rotate


def assert_gradients_equal(operation, written_out, *inputs, atol=1e-12):
    """Both run in fp64 on the same inputs and the same random gradient of the output."""
    outputs = []
    for function in (operation, written_out):
        leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
        out = function(*leaves)
        torch.manual_seed(1)
        out.backward(torch.randn_like(out))
        outputs.append([out, *(x.grad for x in leaves if x.requires_grad)])
    for got, expected in zip(*outputs, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_rms_norm():
    # The mean is taken in fp32 whatever comes in, hence the tolerance.
    assert_gradients_equal(
        lambda x, w: RMSNorm.apply(x, w, 1e-6, torch.float64),
        lambda x, w: w * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
        random(3, 5, 8),
        random(8, seed=1),
        atol=1e-5,
    )


def test_swiglu():
    assert_gradients_equal(
        SwiGLU.apply, lambda g, u: F.silu(g) * u, random(4, 6), random(4, 6, seed=1)
    )


def test_rotation():
    angles = torch.outer(torch.arange(5.0), inverse_frequencies(1e4, 8)).double()
    angles = torch.cat((angles, angles), -1)[None]

    def written_out(x):
        first, second = x.chunk(2, -1)
        turned = torch.cat((-second, first), -1)
        return x * angles.cos()[:, None] + turned * angles.sin()[:, None]

    assert_gradients_equal(
        lambda x: rotate(x, angles.cos(), angles.sin()), written_out, random(2, 3, 5, 8)
    )


@pytest.mark.parametrize("mask", ["causal", "boolean", "additive"])
def test_short_attention(mask):
    allowed = torch.ones(7, 7, dtype=torch.bool).tril()[None, None].repeat(2, 1, 1, 1)
    if mask != "causal":
        allowed[1, :, :, 2] = False
        allowed[1, :, 2, 2] = True  # a row must see something
    given = {
        "causal": None,
        "boolean": allowed,
        "additive": torch.zeros(2, 1, 7, 7).masked_fill(~allowed, -1e9).double(),
    }[mask]

    def ours(q, k, v):
        return short_attention(None, q, k, v, given, 0.3)[0].transpose(1, 2)

    def written_out(q, k, v):
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=allowed, scale=0.3, enable_gqa=True
        )

    query, key, value = random(2, 4, 7, 8), random(2, 2, 7, 8, seed=1), random(2, 2, 7, 8, seed=2)
    assert_gradients_equal(ours, written_out, query, key, value)


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_cross_entropy(rows):
    labels = torch.arange(rows) % 11
    labels[::3] = -100

    def written_out(logits):
        return F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")

    # fp32 inside, whatever comes in.
    assert_gradients_equal(
        lambda logits: CrossEntropy.apply(logits, labels, -100).double(),
        written_out,
        random(rows, 11),
        atol=1e-5,
    )


@pytest.mark.parametrize("count", [None, 7, torch.tensor(7)])
def test_the_loss_is_transformers_own(count):
    logits, labels = random(2, 6, 11).float(), torch.randint(0, 11, (2, 6))
    labels[0, :3] = -100
    given = {"vocab_size": 11, "num_items_in_batch": count}
    got, expected = (
        causal_lm_loss(logits, labels, **given),
        ForCausalLMLoss(logits, labels, **given),
    )
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    shifted = F.pad(labels, (0, 1), value=-100)[:, 1:]
    again = causal_lm_loss(logits, None, shift_labels=shifted, **given)
    torch.testing.assert_close(again, got, rtol=0, atol=0)


def test_logits_in_bf16_are_summed_in_fp32():
    logits, labels = (random(64, 512) * 5).bfloat16(), torch.arange(64)
    exact = F.cross_entropy(logits.float(), labels, reduction="sum")
    torch.testing.assert_close(CrossEntropy.apply(logits, labels, -100), exact, rtol=1e-6, atol=0)
