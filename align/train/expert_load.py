"""What training a mixture of experts needs beside its loss: counts a step, and their metrics."""

from typing import Any

import torch

from align.model.balance import balances


class BalancedTraining:
    """Mix in before a transformers or TRL trainer, as `GuardedTraining`.

    Experts are counted from one optimizer step to the next, over its micro-batches, and each log
    line gets `experts/max_load`, `experts/min_load` and `experts/unused` of the last step. Does
    nothing for a dense model.
    """

    _begins_a_step = True

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        if self._begins_a_step:
            for balance in balances(model):
                balance.reset()
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._begins_a_step = self.accelerator.sync_gradients
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:  # a training step's line, not evaluation's
            for balance in balances(self.model):
                logs = {**logs, **balance.metrics()}
        super().log(logs, *args, **kwargs)
