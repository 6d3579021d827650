"""The product that oneDNN computes, and where it is asked to."""

import pytest
import torch
from torch.nn import functional as F

from align.model import linear as module
from align.model.linear import QwenLinear, linear

needs_onednn = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch has no oneDNN"
)


@pytest.fixture
def onednn(monkeypatch):
    """Asked for, whatever the processor; its calls are counted."""
    calls = []
    monkeypatch.setattr(module, "ONEDNN", True)
    monkeypatch.setattr(module, "MIN_PRODUCTS", 0)
    product = module._product
    monkeypatch.setattr(module, "_product", lambda *a: calls.append(a) or product(*a))
    return calls


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(32,), (4, 9), (2, 3, 8), (1,)])
def test_products_and_gradients_are_torchs(onednn, bias, shape):
    torch.manual_seed(0)
    x, weight = torch.randn(*shape, 24), torch.randn(40, 24)
    given = [x, weight, torch.randn(40) if bias else None]
    results = []
    for function in (linear, F.linear):
        leaves = [t.clone().requires_grad_() if t is not None else None for t in given]
        out = function(*leaves)
        torch.manual_seed(1)
        out.backward(torch.randn_like(out))
        results.append([out, *(t.grad for t in leaves if t is not None)])
    assert len(onednn) == 3  # itself, and its two gradients
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)


@needs_onednn
def test_frozen_weights_get_no_gradient(onednn):
    layer = QwenLinear(24, 40).requires_grad_(False)
    x = torch.randn(32, 24, requires_grad=True)
    layer(x).sum().backward()
    assert len(onednn) == 2 and layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand_as(x), rtol=1e-5, atol=1e-5)


@needs_onednn
@torch.no_grad()
def test_without_gradients_the_same_product_is_asked_for(onednn):
    torch.manual_seed(0)
    layer, x = QwenLinear(24, 40), torch.randn(2, 9, 24)
    with torch.enable_grad():
        expected = layer(x)
    assert layer(x).equal(expected) and len(onednn) == 2


@needs_onednn
def test_small_products_stay_with_torch_but_not_large_weights(onednn, monkeypatch):
    monkeypatch.setattr(module, "MIN_PRODUCTS", 24 * 40 * 8)
    layer = QwenLinear(24, 40)
    layer(torch.randn(7, 24))
    assert not onednn
    layer(torch.randn(8, 24))
    assert len(onednn) == 1
    monkeypatch.setattr(module, "MIN_WEIGHTS", 24 * 40)
    layer(torch.randn(1, 24))
    assert len(onednn) == 2


def test_other_dtypes_and_autocast_stay_with_torch(onednn):
    layer = QwenLinear(24, 40)
    layer.bfloat16()(torch.randn(32, 24).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer.float()(torch.randn(32, 24))
    assert not onednn
