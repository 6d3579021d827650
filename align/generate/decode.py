"""Our own sampling loop over any transformers causal language model.

A prompt is read once, whatever the number of samples; rows that have ended leave the batch; keys
and values are written into room kept ready instead of being copied at every step.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from align.errors import AlignError
from align.generate.engine import Sampling


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
    cache = _growing_cache(model)
    num_samples = torch.tensor([len(numbers) for numbers in samples], device=model.device)
    logits, position, mask = _prefill(
        model, prompts, num_samples, sampling.max_tokens, pad_id, cache
    )
    device = logits.device
    rows = torch.arange(len(logits), device=device)
    out = _Output.empty(len(rows), sampling.max_tokens, device)
    first = _likeliest(logits.float(), top_logprobs)
    limit = (context_length(model) - position).clamp(max=sampling.max_tokens)
    uniforms = uniform_numbers(prompts, samples, seed, sampling).to(device)
    ends = torch.tensor(end_ids, device=device)
    alive = torch.ones_like(rows, dtype=torch.bool)
    for step in range(sampling.max_tokens):
        token, logp = draw(logits.float(), uniforms[rows, step], sampling)
        ended = torch.isin(token, ends)
        out.record(rows, step, token, logp, alive, ended)
        alive &= ~ended & (limit[rows] > step + 1)
        remaining = int(alive.sum())
        if remaining == 0:
            break
        # Moving the cache costs about what a step does, so it waits for an eighth of dead rows.
        if remaining <= len(rows) * 7 // 8:
            keep = alive.nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            rows, token, position, alive = rows[keep], token[keep], position[keep], alive[keep]
            mask = mask[keep] if mask is not None else None
        logits = _last_logits(model, token[:, None], mask, position[:, None] + step, cache)
    return [Sampled(*row, likeliest) for row, likeliest in zip(out.rows(), first, strict=True)]


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


@dataclass(frozen=True)
class _Output:
    """What each row emitted. tokens, logps: (rows, max_tokens); lengths, stopped: (rows,)."""

    tokens: Tensor
    logps: Tensor
    lengths: Tensor
    stopped: Tensor

    @classmethod
    def empty(cls, rows: int, max_tokens: int, device: torch.device) -> "_Output":
        return cls(
            torch.zeros(rows, max_tokens, dtype=torch.long, device=device),
            torch.zeros(rows, max_tokens, device=device),
            torch.zeros(rows, dtype=torch.long, device=device),
            torch.zeros(rows, dtype=torch.bool, device=device),
        )

    def record(
        self, rows: Tensor, step: int, token: Tensor, logp: Tensor, alive: Tensor, ended: Tensor
    ) -> None:
        # Rows that ended but are still in the batch write too, behind their length.
        self.tokens[rows, step] = token
        self.logps[rows, step] = logp
        self.lengths[rows] += alive
        self.stopped[rows] |= alive & ended

    def rows(self) -> list[tuple[list[int], list[float], bool]]:
        lengths, stopped = self.lengths.tolist(), self.stopped.tolist()
        tokens, logps = self.tokens.tolist(), self.logps.cpu().numpy()
        sampled = []
        for row, length in enumerate(lengths):
            if not np.isfinite(logps[row, :length]).all():
                raise BrokenModelError(
                    "the model gave NaN or infinite logits: check its weights, or try another dtype"
                )
            sampled.append((tokens[row][:length], logps[row, :length].tolist(), stopped[row]))
        return sampled


def draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Next tokens and their unfiltered log-probabilities, both (rows,).

    logits (rows, vocabulary) float32, uniforms (rows,) float64 in [0, 1). Inverse-CDF sampling: the
    first token whose cumulative probability exceeds the uniform number.
    """
    logprobs = torch.log_softmax(logits, -1)
    if sampling.temperature == 0:
        token = logits.argmax(-1, keepdim=True)
    else:
        probs = torch.softmax(logits / sampling.temperature, -1)
        order = None
        if sampling.top_k or sampling.top_p < 1:
            probs, order = _filtered(probs, sampling)
        # float64: in float32 a large vocabulary's small probabilities would vanish in the sum.
        cdf = probs.cumsum(-1, dtype=torch.float64)
        token = torch.searchsorted(cdf, uniforms[:, None] * cdf[:, -1:], right=True)
        # Only NaN gets beyond the last token; it is reported with the finished rows.
        token = token.clamp(max=probs.shape[-1] - 1)
        if order is not None:
            token = order.gather(-1, token)
    return token[:, 0], logprobs.gather(-1, token)[:, 0]


def _filtered(probs: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Probabilities sorted downwards, the filtered ones 0 or cut off, and their token ids."""
    vocabulary = probs.shape[-1]
    kept, order = probs.topk(min(sampling.top_k or vocabulary, vocabulary), dim=-1)
    if sampling.top_p < 1:
        kept = kept / kept.sum(-1, keepdim=True)
        before = kept.cumsum(-1, dtype=torch.float64) - kept
        kept = kept.masked_fill(before >= sampling.top_p, 0)
    return kept, order


def uniform_numbers(
    prompts: list[list[int]], samples: list[list[int]], seed: int, sampling: Sampling
) -> Tensor:
    """Uniform numbers in [0, 1), float64, (samples of all prompts, max_tokens).

    Each row is a Philox stream (Salmon et al. 2011) keyed by seed, prompt and sample number.
    """
    num_rows = sum(map(len, samples))
    if sampling.temperature == 0:
        return torch.zeros(num_rows, sampling.max_tokens, dtype=torch.float64)
    drawn = np.empty((num_rows, sampling.max_tokens))
    rows = iter(drawn)
    for prompt, numbers in zip(prompts, samples, strict=True):
        asked = hashlib.sha256(f"{seed}:{prompt}".encode())
        for sample in numbers:
            digest = asked.copy()
            digest.update(f":{sample}".encode())
            key = np.frombuffer(digest.digest()[:16], dtype="<u8")
            np.random.Generator(np.random.Philox(key=key)).random(out=next(rows))
    return torch.from_numpy(drawn)


def _left_pad(prompts: list[list[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and mask (True: a token, False: padding), both (prompts, longest prompt)."""
    width = max(len(prompt) for prompt in prompts)
    rows = [[pad_id] * (width - len(prompt)) + prompt for prompt in prompts]
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    mask = torch.arange(width, device=device) >= width - lengths[:, None]
    return torch.tensor(rows, device=device), mask


def _growing_cache(model: PreTrainedModel) -> DynamicCache:
    """transformers' dynamic cache with its full-attention layers replaced by ours."""
    cache = DynamicCache(config=model.config)
    cache.layers = [
        _GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


class _GrowingLayer(DynamicLayer):
    """Keys and values, (rows, heads, positions, head size), as views into tensors with spare room.

    A decoding step then writes one position where DynamicLayer copies all that came before.
    """

    room = 64

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if start == 0 or end > self._keys.shape[-2]:
            self._keys = self._grown(self.keys, key_states, start, end)
            self._values = self._grown(self.values, value_states, start, end)
            self.is_initialized = True
        self._keys[:, :, start:end] = key_states
        self._values[:, :, start:end] = value_states
        self._show(end)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: Tensor) -> None:
        self._keys = self._keys.repeat_interleave(repeats, 0)
        self._values = self._values.repeat_interleave(repeats, 0)
        self._show(self.get_seq_length())

    def batch_select_indices(self, indices: Tensor) -> None:
        self._keys = self._keys.index_select(0, indices)
        self._values = self._values.index_select(0, indices)
        self._show(self.get_seq_length())

    def _grown(self, old: Tensor | None, new: Tensor, start: int, end: int) -> Tensor:
        rows, heads, _, size = new.shape
        grown = new.new_empty(rows, heads, end + self.room, size)
        if start:
            grown[:, :, :start] = old
        return grown

    def _show(self, length: int) -> None:
        self.keys, self.values = self._keys[:, :, :length], self._values[:, :, :length]
