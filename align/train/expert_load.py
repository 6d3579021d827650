"""What training a mixture of experts needs beside its loss: counts a step, and their metrics."""

from typing import Any

import torch

from align.errors import AlignError
from align.model.balance import ExpertBalance, balances


class BalancedTraining:
    """Mix in before a transformers or TRL trainer, as `GuardedTraining`.

    Experts are counted from one optimizer step to the next, over its micro-batches, and each log
    line gets `experts/max_load`, `experts/min_load` and `experts/unused` of the last step; none
    where the coefficient is 0, as TRL then asks for no router logits. Does nothing for a dense
    model.

    Raises:
        AlignError: from the first step, where the balance loss could have no gradient.
        ModelConfigError: where a coefficient of 0 would take the z-loss away.
    """

    _begins_a_step = True

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        if self._begins_a_step:
            for balance in balances(model):
                self._settle(balance)
                balance.reset()
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._begins_a_step = self.accelerator.sync_gradients
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:  # a training step's line, not evaluation's
            for balance in balances(self.model):
                logs = {**logs, **balance.metrics()}
        super().log(logs, *args, **kwargs)

    def _settle(self, balance: ExpertBalance) -> None:
        # DPO and GRPO weigh the loss by an argument of theirs, and don't tell the model.
        coefficient = getattr(self, "router_aux_loss_coef", balance.config.router_aux_loss_coef)
        balance.weigh(coefficient)
        reentrant = (self.args.gradient_checkpointing_kwargs or {}).get("use_reentrant")
        if coefficient and self.args.gradient_checkpointing and reentrant:
            # Its forward pass runs without gradients, and that is when router logits are recorded.
            raise AlignError(
                "gradient_checkpointing_kwargs {'use_reentrant': True} with router_aux_loss_coef "
                f"{coefficient}: the balance loss would have no gradient; set use_reentrant False, "
                "gradient_checkpointing False, or router_aux_loss_coef 0"
            )
