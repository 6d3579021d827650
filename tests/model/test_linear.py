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
    product = module._product
    monkeypatch.setattr(module, "_product", lambda *a: calls.append(a) or product(*a))
    return calls


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(32,), (4, 9), (2, 3, 8)])
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


def test_few_rows_other_dtypes_and_autocast_stay_with_torch(onednn):
    layer = QwenLinear(24, 40)
    layer(torch.randn(module.MIN_ROWS - 1, 24))
    layer.bfloat16()(torch.randn(32, 24).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer.float()(torch.randn(32, 24))
    assert not onednn
