"""The losses that keep a mixture's experts evenly used, and how evenly they are.

For each layer, N sum_i f_i P_i over its N experts: f_i is how many of a token's k choices fell on
expert i, on average, P_i its mean probability; then the mean over layers (arXiv 2101.03961, eq. 4).
Only P has a gradient. f sums to k here, as in transformers, so that `router_aux_loss_coef` means
the same: an even load scores k, the worst N, whatever the number of layers. transformers pools the
layers before it multiplies, so two layers that each use half of their experts can look even.

f comes from the micro-batch, or from the global batch: counted over all processes and over the
micro-batches of an optimizer step so far (arXiv 2501.11873, section 3; Qwen3). The wider the batch,
the less a single domain is pressed to use all experts.
"""

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers.models.mixtral import modeling_mixtral

from align.model.config import QwenMoeConfig
from align.model.errors import ModelConfigError


class ExpertBalance:
    """The balance of one model's experts, with what it has counted since the last `reset`.

    Raises:
        ModelConfigError: as `weigh`.
    """

    def __init__(self, config: QwenMoeConfig) -> None:
        self.config = config
        self.weigh(config.router_aux_loss_coef)
        self._counts: Tensor | None = None  # (layers, experts), over the optimizer step so far
        self._tokens: Tensor | float = 0.0

    def reset(self) -> None:
        """An optimizer step was taken: count anew."""
        self._counts, self._tokens = None, 0.0

    def weigh(self, coefficient: float) -> None:
        """Set `router_aux_loss_coef`: what the caller will multiply `loss` by.

        Raises:
            ModelConfigError: 0, where there is a z-loss that it would take away too.
        """
        if self.config.router_z_loss_coef and not coefficient:
            raise ModelConfigError(
                f"router_z_loss_coef {self.config.router_z_loss_coef} with router_aux_loss_coef "
                f"{coefficient}: the z-loss comes with the balance loss and would be lost; make "
                "router_aux_loss_coef small instead of 0, or router_z_loss_coef 0 too"
            )
        self.config.router_aux_loss_coef = coefficient

    def loss(self, router_logits: tuple[Tensor, ...], attention_mask: Tensor | None) -> Tensor:
        """The load-balancing loss plus the z-loss, to be weighed by `router_aux_loss_coef`.

        router_logits: (B * T, experts) a layer; attention_mask: (B, T), 0 for padding, or None.
        The z-loss, mean logsumexp(logits)^2 (arXiv 2202.08906, eq. 5), comes in as
        `router_z_loss_coef / router_aux_loss_coef`, so that the one coefficient weighs both.
        """
        weights = _token_weights(router_logits[0], attention_mask)
        tokens = weights.sum()
        load, seen = torch.stack([self._count(logits, weights) for logits in router_logits]), tokens
        if torch.is_grad_enabled():
            load, seen = self._add(load, tokens.clone())
        z_weight = self.config.router_z_loss_coef
        z_ratio = z_weight / self.config.router_aux_loss_coef if z_weight else 0.0
        total = 0.0
        for logits, share in zip(router_logits, load / seen, strict=True):
            probs = torch.softmax(logits.float(), -1)
            mean_probs = (probs * weights[:, None]).sum(0) / tokens
            total = total + len(share) * (share * mean_probs).sum()
            if z_ratio:
                squares = logits.float().logsumexp(-1).square()
                total = total + z_ratio * (squares * weights).sum() / tokens
        return total / len(router_logits)

    def metrics(self) -> dict[str, float]:
        """How this optimizer step's tokens were spread; empty if none were counted.

        Relative to an even load, the most and the least loaded expert of any layer, and the share
        of experts that no token reached; of this process's tokens unless `balance_over` is
        "global_batch".
        """
        if self._counts is None:
            return {}
        relative = self._counts / self._counts.mean(-1, keepdim=True)
        return {
            "experts/max_load": relative.max().item(),
            "experts/min_load": relative.min().item(),
            "experts/unused": (self._counts == 0).float().mean().item(),
        }

    @torch.no_grad()
    def _count(self, logits: Tensor, weights: Tensor) -> Tensor:
        chosen = logits.topk(self.config.num_experts_per_tok, -1).indices
        counts = logits.new_zeros(logits.shape[-1], dtype=torch.float32)
        each = weights.repeat_interleave(chosen.shape[1])
        return counts.scatter_add_(0, chosen.flatten(), each)

    @torch.no_grad()
    def _add(self, counts: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Count a micro-batch in; the counts (layers, experts) and tokens that its loss goes by."""
        over_all = self.config.balance_over == "global_batch"
        if over_all and dist.is_available() and dist.is_initialized():
            for number in (counts, tokens):
                dist.all_reduce(number)
        self._counts = counts if self._counts is None else self._counts + counts
        self._tokens = self._tokens + tokens
        return (self._counts, self._tokens) if over_all else (counts, tokens)


class RouterLogits(tuple):
    """(tokens, experts) logits a layer with experts, and the balance they are to be judged by.

    accelerate casts a model's outputs by making each tuple anew from its items; that copy has no
    balance, and no need of it, as the model has computed its loss by then.
    """

    balance: ExpertBalance | None

    def __new__(
        cls, logits: Iterable[Tensor], balance: ExpertBalance | None = None
    ) -> "RouterLogits":
        made = super().__new__(cls, logits)
        made.balance = balance
        return made

    def balance_loss(self, attention_mask: Tensor | None = None) -> Tensor:
        """`ExpertBalance.loss` of these logits. Raises ValueError for a copy without a balance."""
        if self.balance is None:
            raise ValueError(
                "these router logits are a copy that has lost its model's balance; take the "
                "model's aux_loss, or ask the model's balance.loss(router_logits, attention_mask)"
            )
        return self.balance.loss(self, attention_mask)


def balances(model: nn.Module) -> Iterator[ExpertBalance]:
    """The balance of each mixture of experts in a model, however it is wrapped."""
    for module in model.modules():
        balance = getattr(module, "balance", None)
        if isinstance(balance, ExpertBalance):
            yield balance


def _token_weights(logits: Tensor, attention_mask: Tensor | None) -> Tensor:
    """(tokens,) 1 for a token, 0 for padding."""
    if attention_mask is None:
        return logits.new_ones(len(logits), dtype=torch.float32)
    at_hand = len(logits) // len(attention_mask)  # the mask is of all tokens so far
    return attention_mask[:, -at_hand:].reshape(-1).to(logits.device, torch.float32)


def _judge_router_logits_by_their_own_balance() -> None:
    """TRL's trainers call transformers' pooled loss by its name, on whatever the model returned."""
    pooled = modeling_mixtral.load_balancing_loss_func
    if getattr(pooled, "by_balance", False):
        return

    def load_balancing_loss_func(gate_logits, num_experts=None, top_k=2, attention_mask=None):
        if isinstance(gate_logits, RouterLogits):
            return gate_logits.balance_loss(attention_mask)
        return pooled(gate_logits, num_experts, top_k, attention_mask)

    load_balancing_loss_func.by_balance = True
    modeling_mixtral.load_balancing_loss_func = load_balancing_loss_func


_judge_router_logits_by_their_own_balance()
