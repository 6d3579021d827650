"""Mixture of experts: a router, the experts it picks from, and one that sees every token.

y = sum over the picked i of p_i E_i(x), plus sigmoid(w x) E_shared(x) where there is a shared
expert. Qwen1.5-MoE and Qwen2-MoE have fine-grained and shared experts (arXiv 2407.10671, section
2.2.2), Qwen3-MoE no shared one and p_i that sum to 1 (arXiv 2505.09388, section 2).

Shape letters: N tokens, D hidden_size, E experts, k experts a token, I moe_intermediate_size,
P = N * k pairs of a token and an expert.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from align.model.config import QwenMoeConfig
from align.model.layers import QwenMLP, compute_dtype
from align.model.linear import QwenLinear


class QwenRouter(nn.Module):
    """Which experts see a token, and with what weight: the k likeliest of a softmax, in fp32.

    In bf16 close scores become equal, and a token's expert would hang on their order.
    """

    def __init__(self, config: QwenMoeConfig) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.norm_topk_prob = config.norm_topk_prob
        self.weight = nn.Parameter(torch.zeros(config.num_experts, config.hidden_size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (N, D) to logits (N, E) and weights (N, k), both fp32, and experts (N, k)."""
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.float(), self.weight.float())
        weights, experts = torch.softmax(logits, dim=-1).topk(self.top_k, dim=-1)
        if self.norm_topk_prob:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        return logits, weights, experts


class QwenExperts(nn.Module):
    """All experts' SwiGLU networks, packed: gate_up_proj (E, 2I, D), down_proj (E, D, I)."""

    def __init__(self, config: QwenMoeConfig) -> None:
        super().__init__()
        number, width = config.num_experts, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(number, 2 * width, config.hidden_size))
        self.down_proj = nn.Parameter(torch.empty(number, config.hidden_size, width))

    def forward(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """x (N, D) by the experts (N, k) with weights (N, k); (N, D)."""
        dtype = compute_dtype(x)
        gate_up, down = self.gate_up_proj.to(dtype), self.down_proj.to(dtype)
        return _GroupedSwiGLU.apply(x.to(dtype), gate_up, down, weights, experts).to(x.dtype)


class QwenSparseMoe(nn.Module):
    """What stands in a layer where a dense model has its feed-forward network."""

    def __init__(self, config: QwenMoeConfig) -> None:
        super().__init__()
        self.gate = QwenRouter(config)
        self.experts = QwenExperts(config)
        shared = config.shared_expert_intermediate_size
        self.shared_expert = QwenMLP(config.hidden_size, shared) if shared else None
        self.shared_expert_gate = QwenLinear(config.hidden_size, 1, bias=False) if shared else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        tokens = x.reshape(-1, x.shape[-1])
        _, weights, experts = self.gate(tokens)
        mixed = self.experts(tokens, weights, experts)
        if self.shared_expert is not None:
            share = torch.sigmoid(self.shared_expert_gate(tokens))
            mixed = mixed + share * self.shared_expert(tokens)
        return mixed.view(x.shape)


class _Order(NamedTuple):
    """Where the pairs of a token and an expert lie when each expert's are together.

    places (N, k): a pair's row; tokens (R,): a row's token; ends (E,) int32: the row at which each
    expert's end; scale (R, 1): a row's weight. R is P, or more where segments are rounded up; the
    rows that no pair has hold some token, with weight 0.
    """

    places: Tensor
    tokens: Tensor
    ends: Tensor
    scale: Tensor


def _by_expert(experts: Tensor, weights: Tensor, number: int, rows: int) -> _Order:
    """Sort pairs by expert, each expert's segment rounded up to a multiple of `rows`."""
    flat, top_k = experts.reshape(-1), experts.shape[1]
    ordered, pairs = torch.sort(flat, stable=True)
    edges = torch.arange(number + 1, device=flat.device)
    starts = torch.searchsorted(ordered, edges)  # and where the last one ends
    room = (starts.diff() + rows - 1) // rows * rows
    ends = room.cumsum(0)
    shift = ends - room - starts[:-1]
    at = torch.arange(len(flat), device=flat.device) + shift[ordered]
    length = len(flat) + number * (rows - 1)
    places = torch.empty_like(flat).scatter_(0, pairs, at)
    tokens = flat.new_zeros(length).scatter_(0, at, pairs // top_k)
    scale = weights.new_zeros(length).scatter_(0, places, weights.reshape(-1))
    return _Order(places.view_as(experts), tokens, ends.int(), scale[:, None])


def _segment_rows(x: Tensor) -> int:
    """What a segment's length is rounded up to.

    On a CPU, oneDNN compiles a bf16 product for each shape it meets, and keeps a thousand: with
    segments of every length most of the time would go into compiling.
    """
    return 32 if x.device.type == "cpu" and x.dtype == torch.bfloat16 else 1


class _GroupedSwiGLU(Function):
    """Every expert's network over its own tokens: three grouped products, no loop over experts.

    The weight of a pair is applied before the last product, in I features instead of D. Going back
    to tokens is a sum over each token's k places, which reads every pair once. Kept for backward:
    the tokens and the first product; not their copies an expert, nor what activation makes of them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, experts: Tensor
    ) -> Tensor:
        order = _by_expert(experts, weights.to(x.dtype), len(gate_up), _segment_rows(x))
        spread = x.index_select(0, order.tokens)
        inner = _grouped_mm(spread, gate_up.transpose(1, 2), order.ends)
        gate, up = _halves(inner)
        active = F.silu(gate).mul_(up).mul_(order.scale)
        out = _grouped_mm(active, down.transpose(1, 2), order.ends)
        ctx.save_for_backward(x, gate_up, down, gate, up, *order)
        ctx.weights_dtype = weights.dtype
        return _gathered(out, order.places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        x, gate_up, down, gate, up, *order = ctx.saved_tensors
        order = _Order(*order)
        of_out = grad.index_select(0, order.tokens)
        silu = F.silu(gate)
        active = silu * up
        of_scaled = _grouped_mm(of_out, down, order.ends)
        of_scale = (of_scaled * active).sum(-1)
        of_down = _grouped_mm(of_out.t(), active.mul_(order.scale), order.ends)
        of_active = of_scaled.mul_(order.scale)
        of_up = silu.mul_(of_active)
        of_gate = torch.ops.aten.silu_backward(of_active.mul_(up), gate)
        of_inner = torch.cat((of_gate, of_up), dim=-1)
        spread = x.index_select(0, order.tokens)
        of_gate_up = _grouped_mm(of_inner.t(), spread, order.ends)
        of_x = _gathered(_grouped_mm(of_inner, gate_up, order.ends), order.places)
        of_weights = of_scale[order.places].to(ctx.weights_dtype)
        return of_x, of_gate_up, of_down, of_weights, None


@torch.library.custom_op("align::grouped_mm", mutates_args=())
def _opaque_grouped_mm(rows: Tensor, others: Tensor, ends: Tensor) -> Tensor:
    return F.grouped_mm(rows, others, offs=ends)


@_opaque_grouped_mm.register_fake
def _(rows: Tensor, others: Tensor, ends: Tensor) -> Tensor:
    if others.dim() == 3:
        return rows.new_empty(rows.shape[0], others.shape[2])
    return rows.new_empty(ends.shape[0], rows.shape[0], others.shape[1])


def _grouped_mm(rows: Tensor, others: Tensor, ends: Tensor) -> Tensor:
    """Rows by the matrix of their segment; (a, R) by (R, b) gives a matrix (a, b) a segment.

    torch's operation takes fp32 too, but its shape function, which a compiler asks, does not.
    """
    if torch.compiler.is_compiling():
        return _opaque_grouped_mm(rows, others, ends)
    return F.grouped_mm(rows, others, offs=ends)


def _halves(rows: Tensor) -> Tensor:
    """(R, 2I) to the gates and the ups, (2, R, I), each in one piece."""
    return rows.view(len(rows), 2, -1).transpose(0, 1).contiguous()


def _gathered(rows: Tensor, places: Tensor) -> Tensor:
    """(R, D) rows to their sums over each token's places (N, k): (N, D)."""
    return F.embedding_bag(places, rows, mode="sum")
