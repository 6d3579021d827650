"""Operations with a gradient written by hand, where autograd would keep more than it needs.

Forward, each does what transformers' Qwen classes do in the same order, so it gives the same bits.
Backward, it recomputes what is cheap: a training step then holds fewer activations, and moves less
memory, which is most of what a step costs beside its matrix products.

Shape letters: B batch, T queries, S keys, H query heads, K key/value heads, h head_dim, N rows,
V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F


class RMSNorm(Function):
    """x / sqrt(mean(x^2) + eps) in fp32, cast back, times weight; keeps x and 1/sqrt alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, scale)
        return (weight * (wide * scale).to(x.dtype)).to(dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        grad, normed = grad.float(), x.float() * scale
        of_weight = (grad * normed).flatten(0, -2).sum(0)
        grad = grad * weight
        of_x = scale * (grad - normed * (grad * normed).mean(-1, keepdim=True))
        return of_x.to(x.dtype), of_weight.to(weight.dtype), None, None


class SwiGLU(Function):
    """silu(gate) * up (Shazeer, arXiv 2002.05202, eq. 6 without the products)."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad * up, gate), F.silu(gate).mul_(grad)


class ShortAttention(Function):
    """Softmax attention with the whole (T, S) matrix; keeps the probabilities, in q's dtype.

    For lengths where that matrix is small, matrix products on a CPU with bf16 units are several
    times faster than torch's fused attention, whose inner loops there run in fp32.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scaling: float
    ) -> Tensor:
        """query (B, H, T, h), key and value (B, K, S, h), bias to add (B or 1, 1, T, S)."""
        batch, heads, length, size = query.shape
        grouped = query.reshape(batch, key.shape[1], -1, size)  # a key head's queries, one by one
        scores = torch.matmul(grouped, key.transpose(2, 3)).mul_(scaling)
        by_head = scores.view(batch, heads, length, -1).add_(bias)
        probs = torch.softmax(by_head, -1).view_as(scores)
        ctx.save_for_backward(grouped, key, value, probs)
        ctx.scaling = scaling
        return torch.matmul(probs, value).view(query.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        grouped, key, value, probs = ctx.saved_tensors
        shape, grad = grad.shape, grad.reshape(grouped.shape)
        of_value = torch.matmul(probs.transpose(2, 3), grad)
        of_probs = torch.matmul(grad, value.transpose(2, 3))
        of_scores = torch._softmax_backward_data(of_probs, probs, -1, probs.dtype)
        of_scores.mul_(ctx.scaling)
        of_query = torch.matmul(of_scores, key).view(shape)
        return of_query, torch.matmul(of_scores.transpose(2, 3), grouped), of_value, None, None


class CrossEntropy(Function):
    """Sum of -log softmax(logits)[label] in fp32 over the rows whose label is not `ignored`.

    Never holds fp32 logits for more than one block of rows, forward or backward.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, ignored: int) -> Tensor:
        """logits (N, V) of any dtype, labels (N,); a scalar, in nats."""
        counted = labels != ignored
        labels = labels.where(counted, 0)[:, None]
        ctx.save_for_backward(logits, labels, counted)
        picked = [
            torch.log_softmax(part, -1, dtype=torch.float32).gather(1, label)
            for part, label in zip(_blocks(logits), _blocks(labels), strict=True)
        ]
        return -(torch.cat(picked)[:, 0] * counted).sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        logits, labels, counted = ctx.saved_tensors
        of_logits = torch.empty_like(logits)
        weights = (grad * counted)[:, None]
        parts = zip(*map(_blocks, (of_logits, logits, labels, weights)), strict=True)
        for of_part, part, label, weight in parts:
            probs = torch.softmax(part, -1, dtype=torch.float32)
            probs.scatter_add_(1, label, torch.full_like(label, -1.0, dtype=torch.float32))
            of_part.copy_(probs.mul_(weight))
        return of_logits, None, None


def _blocks(rows: Tensor) -> tuple[Tensor, ...]:
    """Sixteen blocks of rows: small beside the whole, few enough for a compiler to unroll."""
    return rows.split(max(1, -(-len(rows) // 16)))


def causal_lm_loss(
    logits: Tensor,
    labels: Tensor | None,
    vocab_size: int,
    num_items_in_batch: Tensor | int | None = None,
    ignore_index: int = -100,
    shift_labels: Tensor | None = None,
    **_: Any,
) -> Tensor:
    """Cross-entropy of next tokens in nats, as transformers' `ForCausalLMLoss` defines it.

    logits (B, T, V); labels (B, T), shifted here by one position, or `shift_labels`, which are
    already. The mean over the labels counted, or their sum over `num_items_in_batch`.
    """
    if shift_labels is None:
        shift_labels = F.pad(labels, (0, 1), value=ignore_index)[..., 1:]
    shift_labels = shift_labels.reshape(-1).to(logits.device)
    total = CrossEntropy.apply(logits.reshape(-1, vocab_size), shift_labels, ignore_index)
    if num_items_in_batch is None:
        return total / (shift_labels != ignore_index).sum()
    if isinstance(num_items_in_batch, Tensor):
        num_items_in_batch = num_items_in_batch.to(total.device)
    return total / num_items_in_batch
