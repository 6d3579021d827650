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

# Starting oneDNN costs ten microseconds. Products of this many multiplications pay them back, and
# so do this many weights, however few the rows: reading weights is what takes longest then.
MIN_PRODUCTS, MIN_WEIGHTS = 2**20, 2**17


def _prefers_onednn() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    amd = cpuinfo.is_file() and "AuthenticAMD" in cpuinfo.read_text(encoding="utf-8")
    there = torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()
    return amd and there and hasattr(torch.ops.mkldnn, "_linear_pointwise")


# Whether this machine's fp32 products go to oneDNN.
ONEDNN = _prefers_onednn()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: x (..., in) by weight (out, in), plus bias (out,)."""
    if not _pays(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias)
    return _product(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], -1)


def _pays(x: Tensor, weight: Tensor) -> bool:
    in_fp32 = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"
    if not in_fp32 or not ONEDNN or torch.is_autocast_enabled("cpu"):
        return False
    products = x.numel() * weight.shape[0]
    return products >= MIN_PRODUCTS or weight.numel() >= MIN_WEIGHTS


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
        shaped, weight = ctx.saved_tensors
        x, rows = shaped.reshape(-1, shaped.shape[-1]), grad.reshape(-1, grad.shape[-1])
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _product(rows, weight.t(), None).view(shaped.shape)
        if ctx.needs_input_grad[1]:
            # oneDNN copies a turned first factor into rows, so the narrower one comes first.
            narrow = x.shape[1] < rows.shape[1]
            of_weight = (
                _product(x.t(), rows.t(), None).t() if narrow else _product(rows.t(), x.t(), None)
            )
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
