"""Rotary position embedding (Su et al., arXiv 2104.09864, section 3.4) and its stretched forms.

`rope_parameters["rope_type"]` of a configuration names the form:

- `default`: base^(-2i/h). A longer context is trained in by raising `rope_theta` (ABF, arXiv
  2309.16039, section 4.1): 1e4 in Qwen1, 1e6 from Qwen1.5 on, 1e7 in Qwen2.5-1M.
- `linear`: positions divided by `factor` (arXiv 2306.15595).
- `yarn`: low frequencies divided by `factor`, high ones kept, and between them a ramp; queries and
  keys grow by 0.1 ln(factor) + 1 (arXiv 2309.00071, sections 3.2 to 3.4). `ramp` is "dimensions",
  which is linear in the feature's number and what released models use, or "rotations", which is
  linear in a feature's rotations over the trained length, as equation 18 writes it. They differ by
  up to 71 % in Qwen2.5's middle features.
- `dynamic`: the base grows smoothly with the length at hand, as transformers does it.
- `dynamic_ntk`: the base grows at every doubling of the trained length, as Qwen1 does it.

The last two turn all positions anew when the text grows, so keys are cached as they were before
turning (`align.model.long_attention`).

Shape letters: B batch, T tokens, h head_dim.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from align.model.config import QwenConfig
from align.model.long_context import DYNAMIC_ROPE


class QwenRotaryEmbedding(nn.Module):
    """Cosines and sines of the angles by which positions turn queries and keys."""

    def __init__(self, config: QwenConfig) -> None:
        super().__init__()
        self.config = config
        frequencies, self.attention_scaling = self.inverse_frequencies()
        self.register_buffer("inv_freq", frequencies, persistent=False)

    def inverse_frequencies(self) -> tuple[Tensor, float]:
        """(h/2,) radians a token, in fp32, and the factor on cosine and sine.

        For the dynamic forms these hold up to the trained length.
        """
        rope = self.config.rope_parameters
        if rope["rope_type"] == "yarn" and rope.get("ramp") == "rotations":
            return _yarn_by_rotations(rope, self.config.head_dim)
        if rope["rope_type"] in ("linear", "yarn"):
            return ROPE_INIT_FUNCTIONS[rope["rope_type"]](self.config, None)
        return inverse_frequencies(rope["rope_theta"], self.config.head_dim), 1.0

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Follow a move to another device, never a cast: `model.bfloat16()` would round the
        frequencies, and far positions would turn by the wrong angle."""
        super()._apply(fn, recurse)
        # Computed on the CPU and moved, so that every device has the same bits.
        self.inv_freq = self.inverse_frequencies()[0].to(self.inv_freq.device)
        return self

    @torch.no_grad()
    def forward(
        self, position_ids: Tensor, dtype: torch.dtype, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, T) positions to cosines and sines, (B, T, h) each, computed in fp32.

        lengths: (B,) tokens that each row holds by now, which the dynamic forms go by.
        """
        frequencies = self.inv_freq
        if lengths is not None and self.config.rope_parameters["rope_type"] in DYNAMIC_ROPE:
            frequencies = self._grown(lengths)
        angles = position_ids[..., None].float() * frequencies
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling
        return cos.to(dtype), sin.to(dtype)

    def _grown(self, lengths: Tensor) -> Tensor:
        """(B, 1, h/2) frequencies of rows that hold `lengths` tokens."""
        rope, width = self.config.rope_parameters, self.config.head_dim
        growth = ntk_growth(rope, lengths.float(), self.config.max_position_embeddings)
        bases = rope["rope_theta"] * growth ** (width / (width - 2))
        exponents = torch.arange(0, width, 2, device=lengths.device).float() / width
        return (1.0 / bases[:, None] ** exponents)[:, None]


def inverse_frequencies(base: float, width: int) -> Tensor:
    """(width/2,) base^(-2i/width) in fp32."""
    return 1.0 / base ** (torch.arange(0, width, 2, dtype=torch.float32) / width)


def ntk_growth(rope: dict[str, Any], lengths: Tensor, max_positions: int) -> Tensor:
    """By how much NTK-aware scaling grows a text's longest wavelength, for `lengths` in tokens.

    Qwen1 (arXiv 2309.16609, section 2.3, and its code): 2^ceil(log2(n/L) + 1) - 1, so 1, 3, 7, 15
    at 1, 2, 4, 8 times the trained length L. transformers' `dynamic`: f n/L - (f - 1), smooth in n.
    """
    trained = rope.get("original_max_position_embeddings") or max_positions
    ratio = (lengths / trained).clamp(min=1.0)
    if rope["rope_type"] == "dynamic":
        return rope["factor"] * ratio - (rope["factor"] - 1)
    return torch.where(ratio > 1, 2.0 ** torch.ceil(torch.log2(ratio) + 1) - 1, 1.0)


def _yarn_by_rotations(rope: dict[str, Any], width: int) -> tuple[Tensor, float]:
    """YaRN with the paper's own ramp (arXiv 2309.00071, equations 17 to 19 and 22)."""
    kept = inverse_frequencies(rope["rope_theta"], width)
    rotations = rope["original_max_position_embeddings"] * kept / (2 * math.pi)
    slow, fast = rope.get("beta_slow") or 1, rope.get("beta_fast") or 32
    ramp = ((rotations - slow) / (fast - slow)).clamp(0, 1)
    temperature = rope.get("attention_factor") or 0.1 * math.log(rope["factor"]) + 1
    return (1 - ramp) * kept / rope["factor"] + ramp * kept, temperature


class _Rotate(Function):
    """Turning is linear, so its gradient is turned back; nothing but the angles is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-second, first), dim=-1) * sin

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        first, second = (grad * sin).chunk(2, dim=-1)
        return grad * cos + torch.cat((second, -first), dim=-1), None, None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn (B, heads, T, h) by (B, T, h) angles; feature i pairs with feature i + h/2."""
    return _Rotate.apply(x, cos.unsqueeze(1), sin.unsqueeze(1))
