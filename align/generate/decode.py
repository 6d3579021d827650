"""Our own sampling loop over any transformers causal language model.

A prompt is read once, whatever the number of samples; rows that have ended leave the batch; keys
and values are written into room kept ready instead of being copied at every step; and a Qwen of
ours takes its steps by `QwenStep`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from align.errors import AlignError
from align.generate.draw import draw, uniform_numbers
from align.generate.engine import Sampling
from align.generate.kv_cache import growing_cache
from align.generate.qwen_step import QwenStep


class BrokenModelError(AlignError):
    """The model's logits are not numbers."""


def context_length(model: PreTrainedModel) -> float:
    """Positions the model has, prompt and completion together; infinity if its config says none."""
    return getattr(model.config, "max_position_embeddings", None) or float("inf")


class Sampled(NamedTuple):
    """Token ids, their log-probabilities, whether the model ended it, and the first token's
    likeliest choices as (token, log-probability)."""

    token_ids: list[int]
    logps: list[float]
    stopped: bool
    first: list[tuple[int, float]]


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    prompts: list[list[int]],
    samples: list[list[int]],
    sampling: Sampling,
    seed: int,
    end_ids: list[int],
    pad_id: int,
    top_logprobs: int = 0,
) -> list[Sampled]:
    """A row for each sample number of each prompt.

    All in one batch, so memory is the caller's care. Each prompt must be shorter than the context.
    top_logprobs: of the first token, the likeliest ones to report. Raises BrokenModelError for NaN
    logits.
    """
    cache = growing_cache(model)
    num_samples = torch.tensor([len(numbers) for numbers in samples], device=model.device)
    logits, position, mask = _prefill(
        model, prompts, num_samples, sampling.max_tokens, pad_id, cache
    )
    rows = torch.arange(len(logits), device=logits.device)
    first = _likeliest(logits.float(), top_logprobs)
    limits = (context_length(model) - position).clamp(max=sampling.max_tokens)
    uniforms = uniform_numbers(prompts, samples, seed, sampling).to(logits.device)
    ends = torch.tensor(end_ids, dtype=torch.long, device=logits.device)
    next_logits = _stepper(model, cache)
    out = _Output(len(rows), sampling.max_tokens, logits.device)
    alive = torch.ones_like(rows, dtype=torch.bool)
    for step in range(sampling.max_tokens):
        token, logp = draw(logits.float(), uniforms[rows, step], sampling)
        out.add(rows, token, logp)
        alive &= ~(token[:, None] == ends).any(1) & (limits[rows] > step + 1)
        remaining = int(alive.sum())
        if remaining == 0:
            break
        # Moving the cache costs about what a step does, so it waits for an eighth of dead rows.
        if remaining <= len(rows) * 7 // 8:
            keep = alive.nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            rows, token, position, alive = rows[keep], token[keep], position[keep], alive[keep]
            mask = mask[keep] if mask is not None else None
        logits = next_logits(token, position + step, mask)
    sampled = zip(out.finished(limits, ends), first, strict=True)
    return [Sampled(*row, likeliest) for row, likeliest in sampled]


def _stepper(model: PreTrainedModel, cache: DynamicCache) -> Callable[..., Tensor]:
    """Logits after a token (rows,) at its position (rows,), by the mask (rows, room) of padding."""
    quick = QwenStep.of(model)

    def by_model(token: Tensor, position: Tensor, mask: Tensor | None) -> Tensor:
        return _last_logits(model, token[:, None], mask, position[:, None], cache)

    def by_weights(token: Tensor, position: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            mask = mask[:, None, : cache.get_seq_length() + 1]
        return quick(token, position, mask, cache)

    return by_model if quick is None else by_weights


def _likeliest(logits: Tensor, number: int) -> list[list[tuple[int, float]]]:
    """The likeliest tokens of each row with their log-probabilities, best first."""
    logps, tokens = torch.log_softmax(logits, -1).topk(number, -1)
    return [
        list(zip(*row, strict=True)) for row in zip(tokens.tolist(), logps.tolist(), strict=True)
    ]


def _prefill(
    model: PreTrainedModel,
    prompts: list[list[int]],
    num_samples: Tensor,
    max_tokens: int,
    pad_id: int,
    cache: DynamicCache,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Read each prompt once into `cache`, then give it as many rows as it has samples.

    Returns, for the rows: logits (rows, vocabulary); the next token's position (rows,); the mask of
    prompt and completion (rows, longest prompt + max_tokens), None if nothing is padding.
    """
    input_ids, mask = _left_pad(prompts, pad_id, model.device)
    lengths = mask.sum(1)
    padded = bool(lengths.min() < mask.shape[1])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = _last_logits(model, input_ids, mask if padded else None, positions, cache)
    cache.batch_repeat_interleave(num_samples)
    whole = torch.cat([mask, mask.new_ones(len(prompts), max_tokens)], 1)
    return (
        logits.repeat_interleave(num_samples, 0),
        lengths.repeat_interleave(num_samples, 0),
        whole.repeat_interleave(num_samples, 0) if padded else None,
    )


def _last_logits(
    model: PreTrainedModel,
    input_ids: Tensor,
    mask: Tensor | None,
    positions: Tensor,
    cache: DynamicCache,
) -> Tensor:
    """One forward pass, which adds `input_ids` to `cache`; the last position's logits."""
    seen = cache.get_seq_length() + input_ids.shape[1]
    return model(
        input_ids=input_ids,
        attention_mask=mask[:, :seen] if mask is not None else None,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]


class _Output:
    """What each row emitted, written down whenever rows leave the batch."""

    def __init__(self, rows: int, max_tokens: int, device: torch.device) -> None:
        self.tokens = torch.zeros(rows, max_tokens, dtype=torch.long, device=device)
        self.logps = torch.zeros(rows, max_tokens, device=device)
        self._rows: Tensor | None = None
        self._steps: list[tuple[Tensor, Tensor]] = []
        self._written = 0

    def add(self, rows: Tensor, token: Tensor, logp: Tensor) -> None:
        """A step's token and log-probability, (rows,) each, of the rows in the batch."""
        if rows is not self._rows:
            self._write()
            self._rows = rows
        self._steps.append((token, logp))

    def finished(self, limits: Tensor, ends: Tensor) -> list[tuple[list[int], list[float], bool]]:
        """Tokens, log-probabilities and whether it stopped by itself, for each row."""
        self._write()
        # Rows that ended but were still in the batch went on, behind their end.
        is_end = torch.isin(self.tokens, ends)
        first_end = is_end.long().argmax(1).where(is_end.any(1), self.tokens.shape[1])
        stopped = (first_end < limits).tolist()
        lengths = torch.minimum(first_end + 1, limits).long().tolist()
        tokens, logps = self.tokens.tolist(), self.logps.cpu().numpy()
        sampled = []
        for row, length in enumerate(lengths):
            if not np.isfinite(logps[row, :length]).all():
                raise BrokenModelError(
                    "the model gave NaN or infinite logits: check its weights, or try another dtype"
                )
            sampled.append((tokens[row][:length], logps[row, :length].tolist(), stopped[row]))
        return sampled

    def _write(self) -> None:
        if self._steps:
            tokens, logps = (torch.stack(steps, 1) for steps in zip(*self._steps, strict=True))
            end = self._written + len(self._steps)
            self.tokens[self._rows, self._written : end] = tokens
            self.logps[self._rows, self._written : end] = logps
            self._steps, self._written = [], end


def _left_pad(prompts: list[list[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and mask (True: a token, False: padding), both (prompts, longest prompt)."""
    width = max(len(prompt) for prompt in prompts)
    rows = [[pad_id] * (width - len(prompt)) + prompt for prompt in prompts]
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    mask = torch.arange(width, device=device) >= width - lengths[:, None]
    return torch.tensor(rows, device=device), mask
