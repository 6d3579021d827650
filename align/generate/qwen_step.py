"""One decoding step of a Qwen of ours, without what a general forward pass needs.

For a small batch on a CPU a step costs what starting its operations costs, for a large one what
moving keys and values does. So this walks the layers' weights itself: no masks to build, no keys
repeated for each query head, and a third of the operations.

Shape letters: R rows, S positions so far, D hidden_size, H query heads, K key/value heads, h
head_dim.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, PreTrainedModel

from align.generate.kv_cache import GrowingLayer
from align.model import QwenForCausalLM, QwenMoeForCausalLM
from align.model.attention import QwenAttention
from align.model.layers import QwenMLP, QwenRMSNorm
from align.model.linear import QwenLinear, linear
from align.model.modeling import QwenDecoderLayer

_WALKED = (nn.Embedding, QwenDecoderLayer, QwenAttention, QwenLinear, QwenMLP, QwenRMSNorm)
# transformers' hooks that change no value: for hidden states, and for gradient checkpointing.
_HARMLESS = ("output_capturing_hook", "make_inputs_require_grads")


class QwenStep:
    """Next logits of a model whose keys and values so far are in a cache.

    The weights are looked up once, for looking up a module's costs as much as a small operation.
    """

    @classmethod
    def of(cls, model: PreTrainedModel) -> "QwenStep | None":
        """None for what this doesn't compute: another family, windows, long context, adapters, and
        modules that somebody hooked into or gave another forward pass."""
        if type(model) not in (QwenForCausalLM, QwenMoeForCausalLM):
            return None
        decoder = model.model
        walked = [decoder.embed_tokens, decoder.norm, model.lm_head]
        for layer in decoder.layers:
            dense = type(layer.mlp) is QwenMLP  # any other is called, not walked
            walked += [m for n, m in layer.named_modules() if dense or not n.startswith("mlp")]
        plain = all(map(_as_built, walked))
        plain &= all(layer.self_attn.window is None for layer in decoder.layers)
        return cls(model) if plain else None

    def __init__(self, model: QwenForCausalLM) -> None:
        decoder = model.model
        self.layers = [_Layer.of(layer) for layer in decoder.layers]
        self.embedding, self.head = decoder.embed_tokens.weight, model.lm_head.weight
        self.norm, self.rotary = _Norm.of(decoder.norm), decoder.rotary_emb
        self.head_dim, self.scaling = model.config.head_dim, model.config.head_dim**-0.5

    def __call__(
        self, tokens: Tensor, positions: Tensor, mask: Tensor | None, cache: DynamicCache
    ) -> Tensor:
        """Logits (R, vocabulary) after tokens (R,) at positions (R,), which are added to `cache`.

        mask: (R, 1, S), False where a row is padded; None if none is.
        """
        x = F.embedding(tokens, self.embedding)
        cos, sin = self.rotary(positions[:, None], x.dtype)
        first, second = sin.chunk(2, -1)
        sin = torch.cat((-first, second), -1)
        bias = None
        if mask is not None:
            bias = torch.zeros_like(mask, dtype=x.dtype).masked_fill_(~mask, float("-inf"))
        for layer, room in zip(self.layers, cache.layers, strict=True):
            x = x + self._attended(layer, layer.before_attention(x), cos, sin, bias, room)
            x = x + layer.feed_forward(layer.before_mlp(x))
        return linear(self.norm(x), self.head)

    def _attended(
        self,
        layer: "_Layer",
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        bias: Tensor | None,
        room: GrowingLayer,
    ) -> Tensor:
        rows, size = len(x), self.head_dim
        query = linear(x, *layer.query).view(rows, -1, size)
        key = linear(x, *layer.key).view(rows, -1, size)
        value = linear(x, *layer.value).view(rows, -1, 1, size)
        if layer.query_norm is not None:
            query, key = layer.query_norm(query), layer.key_norm(key)
        query, key = _turned(query, cos, sin), _turned(key, cos, sin)
        keys, values = room.update(key.unsqueeze(2), value)
        heads, seen = keys.shape[1], keys.shape[2]
        # A key head's queries side by side, so that each of its keys is read once.
        scores = torch.bmm(
            query.view(rows * heads, -1, size), keys.flatten(0, 1).transpose(1, 2)
        ).mul_(self.scaling)
        if bias is not None:
            scores.view(rows, -1, seen).add_(bias)
        out = torch.bmm(scores.softmax(-1), values.flatten(0, 1))
        return linear(out.view(rows, -1), layer.output)


def _as_built(module: nn.Module) -> bool:
    """Whether a module computes what its class says: TRL's fp32 head and offloading replace
    `forward`, others add hooks."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    unchanged = all(getattr(hook, "__name__", "") in _HARMLESS for hook in hooks)
    return type(module) in _WALKED and unchanged and "forward" not in vars(module)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(R, heads, h) turned by (R, 1, h) angles; the first half of `sin` is negated."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


class _Norm(NamedTuple):
    weight: Tensor
    eps: float

    @classmethod
    def of(cls, norm: QwenRMSNorm) -> "_Norm":
        return cls(norm.weight, norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class _Layer(NamedTuple):
    """A layer's weights; query, key and value with their biases, or None."""

    before_attention: _Norm
    query: tuple[Tensor, Tensor | None]
    key: tuple[Tensor, Tensor | None]
    value: tuple[Tensor, Tensor | None]
    query_norm: _Norm | None
    key_norm: _Norm | None
    output: Tensor
    before_mlp: _Norm
    mlp: nn.Module
    gate_up_down: tuple[Tensor, Tensor, Tensor] | None

    @classmethod
    def of(cls, layer: nn.Module) -> "_Layer":
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        query, key, value = [(module.weight, module.bias) for module in projections]
        normed = attention.q_norm is not None
        dense = type(mlp) is QwenMLP
        feed = (mlp.gate_proj, mlp.up_proj, mlp.down_proj) if dense else ()
        return cls(
            _Norm.of(layer.input_layernorm),
            query,
            key,
            value,
            _Norm.of(attention.q_norm) if normed else None,
            _Norm.of(attention.k_norm) if normed else None,
            attention.o_proj.weight,
            _Norm.of(layer.post_attention_layernorm),
            mlp,
            tuple(module.weight for module in feed) or None,
        )

    def feed_forward(self, x: Tensor) -> Tensor:
        if self.gate_up_down is None:  # a mixture of experts
            return self.mlp(x)
        gate, up, down = self.gate_up_down
        return linear(F.silu(linear(x, gate)).mul_(linear(x, up)), down)
