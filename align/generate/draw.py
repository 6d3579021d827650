"""Drawing the next token: the same number, the same token, whatever else is in the batch."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from align.generate.engine import Sampling


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
        if sampling.top_k or sampling.top_p < 1:
            probs = probs.where(probs >= _least_kept(probs, sampling), 0)
        # float64: in float32 a large vocabulary's small probabilities would vanish in the sum.
        cdf = probs.cumsum(-1, dtype=torch.float64)
        token = torch.searchsorted(cdf, uniforms[:, None] * cdf[:, -1:], right=True)
        # Only NaN gets beyond the last token; it is reported with the finished rows.
        token = token.clamp(max=probs.shape[-1] - 1)
    return token[:, 0], logprobs.gather(-1, token)[:, 0]


def _least_kept(probs: Tensor, sampling: Sampling) -> Tensor:
    """(rows, 1) the smallest probability that top_k and then top_p keep; ties with it stay too.

    A token stays while the likelier ones hold less than top_p of what top_k kept.
    """
    rising = _sorted(probs)[:, -(sampling.top_k or probs.shape[-1]) :]
    if sampling.top_p >= 1:
        return rising[:, :1]
    mass = rising.cumsum(-1, dtype=torch.float64)
    whole = mass[:, -1:]
    first = torch.searchsorted(mass, whole * (1 - sampling.top_p), right=True)
    return rising.gather(-1, first.clamp(max=rising.shape[-1] - 1))


def _sorted(probs: Tensor) -> Tensor:
    """Each row upwards. NumPy's sort of plain numbers is ten times torch's, which tracks places."""
    if probs.device.type == "cpu":
        return torch.from_numpy(np.sort(probs.numpy(), axis=-1))
    return probs.sort(-1).values


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
