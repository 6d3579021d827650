"""The parts of a layer that are the same in every Qwen: the norm and the feed-forward network.

Shape letters: B batch, T tokens, D hidden_size.
"""

import torch
from torch import Tensor, nn

from align.model.kernels import RMSNorm, SwiGLU
from align.model.linear import QwenLinear


class QwenRMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps), then times weight (Zhang & Sennrich, arXiv 1910.07467, eq. 4).

    The mean is taken in fp32 and the result cast back *before* the weight is applied; in bf16 the
    other order gives other bits.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """(..., width) to the same shape; `dtype` of the result, by default x's and the weight's
        common one."""
        dtype = dtype or torch.promote_types(x.dtype, self.weight.dtype)
        return RMSNorm.apply(x, self.weight, self.eps, dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


class QwenMLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)), no biases (Shazeer, arXiv 2002.05202, eq. 6)."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = QwenLinear(hidden_size, intermediate_size, bias=False)
        self.up_proj = QwenLinear(hidden_size, intermediate_size, bias=False)
        self.down_proj = QwenLinear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return self.down_proj(SwiGLU.apply(self.gate_proj(x), self.up_proj(x)))


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype that matrix products of x come in: autocast's where it is on, else x's."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
