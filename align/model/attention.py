"""Grouped-query attention.

Shape letters: B batch, T queries, S keys, D hidden_size, H query heads, K key/value heads,
h head_dim.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from align.model.config import QwenConfig
from align.model.kernels import ShortAttention
from align.model.layers import QwenRMSNorm
from align.model.linear import QwenLinear
from align.model.rope import rotate

# Up to this length a CPU with bf16 units is faster with the whole matrix of scores.
SHORT = 512


class QwenAttention(nn.Module):
    """Grouped-query attention: key head j serves query heads j*g to (j+1)*g - 1, g = H / K.

    Biases on Q, K and V up to Qwen2.5; instead, in Qwen3, an RMSNorm over each head's queries and
    keys before they are turned. Never a bias on the output.
    """

    def __init__(self, config: QwenConfig, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = config.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = True
        self.window = config.window(layer_idx)
        width, bias = config.hidden_size, config.qkv_bias
        query_width = config.num_attention_heads * config.head_dim
        key_width = config.num_key_value_heads * config.head_dim
        self.q_proj = QwenLinear(width, query_width, bias=bias)
        self.k_proj = QwenLinear(width, key_width, bias=bias)
        self.v_proj = QwenLinear(width, key_width, bias=bias)
        self.o_proj = QwenLinear(query_width, width, bias=False)
        self.q_norm = QwenRMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else None
        self.k_norm = QwenRMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else None

    def forward(
        self,
        x: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D), angles (B, T, h); the output (B, T, D), and the weights if eager."""
        query, key, value = self.heads(x)
        query, key = rotate(query, *position_embeddings), rotate(key, *position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        out, weights = self.attend(query, key, value, attention_mask, **kwargs)
        return self.o_proj(out.reshape(*x.shape[:-1], -1)), weights

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, h), keys and values (B, K, T, h), not turned yet."""
        by_head = (*x.shape[:-1], -1, self.head_dim)
        query, key = self.q_proj(x).view(by_head), self.k_proj(x).view(by_head)
        if self.q_norm is not None:
            query, key = self.q_norm(query, query.dtype), self.k_norm(key, key.dtype)
        value = self.v_proj(x).view(by_head)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, T, H, h) by the implementation that the config names."""
        implementation = self.config._attn_implementation
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention)
        if implementation == "sdpa" and self._is_short(query, key):
            attend = short_attention
        return attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            sliding_window=self.window,
            **kwargs,
        )

    def _is_short(self, query: Tensor, key: Tensor) -> bool:
        length = query.shape[2]
        on_amx = query.device.type == "cpu" and query.dtype == torch.bfloat16
        whole = 1 < length == key.shape[2] <= SHORT
        return on_amx and whole and not (self.training and self.attention_dropout)


def short_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of a whole text to itself, in `transformers`' signature; see `ShortAttention`.

    Without a mask it is causal, as sdpa's.
    """
    length = query.shape[2]
    lowest = torch.finfo(query.dtype).min
    if attention_mask is None:
        bias = torch.full((length, length), lowest, dtype=query.dtype).triu(1)[None, None]
    elif attention_mask.dtype == torch.bool:
        bias = torch.zeros_like(attention_mask, dtype=query.dtype)
        bias = bias.masked_fill_(~attention_mask, lowest)
    else:
        bias = attention_mask.to(query.dtype)
    return ShortAttention.apply(query, key, value, bias, scaling).transpose(1, 2), None


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """softmax(q k^T * scaling + mask) v, written out.

    Takes query (B, H, T, h), key and value (B, K, S, h), an additive mask (B, 1, T, S).
    Returns the output (B, T, H, h) and the weights (B, H, T, S).
    """
    key = key.repeat_interleave(module.num_key_value_groups, dim=1)
    value = value.repeat_interleave(module.num_key_value_groups, dim=1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights
