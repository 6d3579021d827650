"""Rotary position embedding (Su et al., arXiv 2104.09864, section 3.4), in fp32.

Shape letters: B batch, T tokens, h head_dim.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from align.model.config import QwenConfig


class QwenRotaryEmbedding(nn.Module):
    """Cosines and sines of the angles by which positions turn queries and keys."""

    def __init__(self, config: QwenConfig) -> None:
        super().__init__()
        self.config = config
        frequencies, self.attention_scaling = self.inverse_frequencies()
        self.register_buffer("inv_freq", frequencies, persistent=False)

    def inverse_frequencies(self) -> tuple[Tensor, float]:
        """(h/2,) base^(-2i/h) for i = 0, 1, ..., in fp32, and the factor on cosine and sine."""
        rope = self.config.rope_parameters
        if rope["rope_type"] != "default":
            return ROPE_INIT_FUNCTIONS[rope["rope_type"]](self.config, None)
        width = self.config.head_dim
        exponents = torch.arange(0, width, 2, dtype=torch.float32) / width
        return 1.0 / rope["rope_theta"] ** exponents, 1.0

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Follow a move to another device, never a cast: `model.bfloat16()` would round the
        frequencies, and far positions would turn by the wrong angle."""
        super()._apply(fn, recurse)
        # Computed on the CPU and moved, so that every device has the same bits.
        self.inv_freq = self.inverse_frequencies()[0].to(self.inv_freq.device)
        return self

    @torch.no_grad()
    def forward(self, position_ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(B, T) positions to cosines and sines, (B, T, h) each, computed in fp32."""
        angles = position_ids[..., None].float() * self.inv_freq
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling
        return cos.to(dtype), sin.to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn (B, heads, T, h) by (B, T, h) angles; feature i pairs with feature i + h/2."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return x * cos.unsqueeze(1) + turned * sin.unsqueeze(1)
