"""Matrix products in fp32 by oneDNN on the processors where that is faster than MKL.

torch takes MKL for fp32, whose fast code is for the processors of Intel. On those of AMD it reaches
half of what oneDNN does, which torch has on board but uses for bf16 alone. Which of the two runs
hangs on the processor and the shape, never on a measurement: a run repeated has the same bits.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

# Below this many rows starting oneDNN costs more than it saves.
MIN_ROWS = 16


def _prefers_onednn() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    amd = cpuinfo.is_file() and "AuthenticAMD" in cpuinfo.read_text(encoding="utf-8")
    there = torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()
    return amd and there and hasattr(torch.ops.mkldnn, "_linear_pointwise")


# Whether this machine's fp32 products go to oneDNN.
ONEDNN = _prefers_onednn()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: x (..., in) by weight (out, in), plus bias (out,)."""
    rows = x.numel() // x.shape[-1]
    in_fp32 = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"
    if not in_fp32 or rows < MIN_ROWS or torch.is_autocast_enabled("cpu") or not ONEDNN:
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)


class QwenLinear(nn.Linear):
    """`nn.Linear`, by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _Linear(Function):
    """oneDNN's product has no gradient in torch, so its two products are written out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _product(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _product(rows, weight.t(), None).view(x.shape)
        if ctx.needs_input_grad[1]:
            of_weight = _product(rows.t(), x.reshape(-1, x.shape[-1]).t(), None)
        return of_x, of_weight, rows.sum(0) if ctx.has_bias else None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x (N, in) weight^T (in, out) + bias."""
    if torch.compiler.is_compiling():  # which would want the weight packed beforehand
        return _opaque_product(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@torch.library.custom_op("align::linear", mutates_args=())
def _opaque_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@_opaque_product.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])
