"""Sampling from a model in this process, resumable."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

import align.model  # noqa: F401  (registers our architectures with transformers' auto classes)
from align.errors import AlignError
from align.generate.cache import CompletionCache, request_key
from align.generate.decode import context_length, decode
from align.generate.engine import Completion, Conversation, Progress, Sampling

logger = logging.getLogger(__name__)


class GenerationError(AlignError):
    """A model, tokenizer or prompt that cannot be sampled from."""


@dataclass(frozen=True)
class _Request:
    """A distinct prompt, and the places in the caller's list that its answer goes to."""

    key: str
    token_ids: list[int]
    positions: list[int]


class LocalEngine:
    """Samples from a model in this process.

    model: a folder in transformers' format, or a (model, tokenizer) pair, taken as it is.
    fingerprint: names the weights; part of every cache key.
    max_batch_tokens: a chunk holds as many prompts as keep samples x (longest prompt + max_tokens)
        within this, and at least one. It bounds the memory of the key-value cache.
    device, dtype: for a folder only; by default the first GPU in bfloat16 if there is one, else the
        CPU in float32.
    cache: a JSONL file of finished requests (`CompletionCache`); made if it isn't there.

    Randomness: the uniform number behind a token depends on seed, prompt tokens, sample index and
    position only, so an answer does not depend on what else is asked, nor on the order. (Rounding
    does depend on the batch: it changes a token when the number falls within rounding error of a
    boundary, about one in a million in float32.) The same prompt asked twice in one call gets the
    same answers twice: ask for more with `n`.

    Resuming: distinct prompts are sorted by length and cut into chunks, always the same for the
    same list; a chunk is written to the cache when it is done. Run again, a chunk that is complete
    in the cache is read, any other is generated whole, in the same batch as before, so the result
    has the same bits as that of an undisturbed run on that machine. A prompt added to the list may
    shift the borders of later chunks: of those, just the ones that miss a request are generated.

    Raises GenerationError for a tokenizer without chat template, pad token or end token.
    """

    def __init__(
        self,
        model: str | Path | tuple[PreTrainedModel, PreTrainedTokenizerBase],
        *,
        fingerprint: str,
        max_batch_tokens: int = 131_072,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        cache: Path | None = None,
    ) -> None:
        if isinstance(model, tuple):
            self.model, self.tokenizer = model
        else:
            self.model, self.tokenizer = _load(model, device, dtype)
        self.fingerprint = fingerprint
        self.max_batch_tokens = max_batch_tokens
        self._cache = CompletionCache(cache) if cache is not None else None
        self._end_ids = _end_ids(self.model, self.tokenizer)
        if self.tokenizer.chat_template is None:
            raise GenerationError(
                "the tokenizer has no chat template: set tokenizer.chat_template and save it"
            )
        if self.tokenizer.pad_token_id is None:
            raise GenerationError(
                "the tokenizer has no pad token: set tokenizer.pad_token and save it"
            )

    def generate(
        self,
        prompts: list[Conversation],
        *,
        n: int,
        sampling: Sampling,
        seed: int,
        on_progress: Progress | None = None,
    ) -> list[list[Completion]]:
        """`n` completions for each prompt, in the order of `prompts`.

        A completion stops early, with finish_reason "length", where the model's context ends; a
        warning says so.
        Raises GenerationError for n < 1, and for a prompt that leaves no room in the context.
        """
        if n < 1:
            raise GenerationError(f"n is {n}: ask for at least one completion a prompt")
        requests = self._requests(prompts, n, sampling, seed)
        known = self._cache.load() if self._cache else {}
        results: list[list[Completion]] = [[] for _ in prompts]
        done = 0
        for chunk in self._chunks(requests, n, sampling):
            cached = all(request.key in known for request in chunk)
            if cached:
                answers = [known[request.key] for request in chunk]
            else:
                answers = self._answer([r.token_ids for r in chunk], n, sampling, seed)
                if self._cache:
                    self._cache.append(zip([r.key for r in chunk], answers, strict=True))
            for request, completions in zip(chunk, answers, strict=True):
                for position in request.positions:
                    results[position] = list(completions)
                done += len(request.positions)
            if on_progress:
                sampled = sum(len(c.token_ids) for completions in answers for c in completions)
                on_progress(done, len(prompts), 0 if cached else sampled)
        return results

    def _requests(
        self, prompts: list[Conversation], n: int, sampling: Sampling, seed: int
    ) -> list[_Request]:
        """Distinct prompts, tokenised and checked, shortest first."""
        positions: dict[str, list[int]] = {}
        engine = f"{self.fingerprint}/{self.model.dtype}"
        for position, prompt in enumerate(prompts):
            key = request_key(engine, prompt, n=n, sampling=sampling, seed=seed)
            positions.setdefault(key, []).append(position)
        if not positions:
            return []
        texts = [
            self.tokenizer.apply_chat_template(
                prompts[places[0]], tokenize=False, add_generation_prompt=True
            )
            for places in positions.values()
        ]
        token_ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        requests = [
            _Request(key, ids, places)
            for (key, places), ids in zip(positions.items(), token_ids, strict=True)
        ]
        self._check_lengths(requests, sampling)
        return sorted(requests, key=lambda request: len(request.token_ids))

    def _check_lengths(self, requests: list[_Request], sampling: Sampling) -> None:
        context = context_length(self.model)
        shortened = 0
        for request in requests:
            length = len(request.token_ids)
            if length >= context:
                raise GenerationError(
                    f"prompt {request.positions[0]} has {length} tokens, and the model's context "
                    f"is {context}: shorten the prompt, or use a model with a longer context"
                )
            shortened += length + sampling.max_tokens > context
        if shortened:
            logger.warning(
                "%d of %d prompts leave less than max_tokens=%d in the context of %d tokens; "
                "their completions end where the context does",
                shortened,
                len(requests),
                sampling.max_tokens,
                context,
            )

    def _chunks(
        self, requests: list[_Request], n: int, sampling: Sampling
    ) -> Iterator[list[_Request]]:
        chunk: list[_Request] = []
        for request in requests:
            rows = (len(chunk) + 1) * n
            longest = len(request.token_ids) + sampling.max_tokens
            if chunk and rows * longest > self.max_batch_tokens:
                yield chunk
                chunk = []
            chunk.append(request)
        if chunk:
            yield chunk

    def _answer(
        self, prompts: list[list[int]], n: int, sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        was_training = self.model.training
        self.model.eval()
        try:
            sampled = decode(
                self.model, prompts, n, sampling, seed, self._end_ids, self.tokenizer.pad_token_id
            )
        finally:
            self.model.train(was_training)
        texts = self.tokenizer.batch_decode(
            [ids[:-1] if stopped else ids for ids, _, stopped in sampled], skip_special_tokens=True
        )
        completions = [
            Completion(text, tuple(ids), tuple(logps), "stop" if stopped else "length")
            for text, (ids, logps, stopped) in zip(texts, sampled, strict=True)
        ]
        return [completions[start : start + n] for start in range(0, len(completions), n)]


def _load(
    path: str | Path, device: str | torch.device | None, dtype: torch.dtype | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype).to(device)
    return model, AutoTokenizer.from_pretrained(path)


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that end a turn: the generation config's and the tokenizer's."""
    generation_config = getattr(model, "generation_config", None)
    configured = getattr(generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    end_ids = sorted({i for i in [*listed, tokenizer.eos_token_id] if i is not None})
    if not end_ids:
        raise GenerationError(
            "neither the generation config nor the tokenizer names an end token: "
            "set tokenizer.eos_token"
        )
    return end_ids
