"""Sampling from a model in this process, resumable."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from align.generate.cache import CompletionCache, request_key
from align.generate.decode import context_length, decode
from align.generate.engine import (
    Completion,
    Conversation,
    Failure,
    OnAnswers,
    Progress,
    Sampling,
)
from align.generate.errors import GenerationError
from align.generate.tokens import logps_by_text, prompt_tokens
from align.model import load
from align.model.convert import is_of_family

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Request:
    """A distinct prompt, the sample numbers asked of it, and the places in the caller's list that
    the answers go to."""

    key: str
    token_ids: list[int]
    samples: list[int]
    positions: list[int]


class LocalEngine:
    """Samples from a model in this process.

    model: a folder in transformers' format, or a (model, tokenizer) pair, taken as it is.
    fingerprint: names the weights; the engine's own names their precision too.
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

    follows_schemas = False

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
        self.fingerprint = f"{fingerprint}/{str(self.model.dtype).removeprefix('torch.')}"
        self.max_batch_tokens = max_batch_tokens
        self._cache = CompletionCache(cache) if cache is not None else None
        self._model_in_use = threading.Lock()
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
        for chunk in self._chunks(requests, sampling):
            cached = all(request.key in known for request in chunk)
            if cached:
                answers = [known[request.key] for request in chunk]
            else:
                answers = self._answer(chunk, sampling, seed)
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

    def answer(
        self,
        prompts: Sequence[Conversation],
        samples: Sequence[int],
        *,
        sampling: Sampling,
        seed: int,
        on_answers: OnAnswers,
        schema: Mapping[str, Any] | None = None,
        top_logprobs: int = 0,
    ) -> None:
        """See `Engine`; a chunk's answers are handed over together, shortest prompts first.

        Called again for what was not handed over, it cuts the same chunks as before, so that a
        resumed run has the same bits. A prompt that leaves no room in the context is a Failure
        `too_long`.
        """
        places: dict[str, list[int]] = {}
        for place, prompt in enumerate(prompts):
            places.setdefault(repr(prompt), []).append(place)
        with self._model_in_use:  # and its tokenizer, whose padding `embed` switches
            token_ids = prompt_tokens(
                self.tokenizer, [prompts[some[0]] for some in places.values()]
            )
        requests, context = [], context_length(self.model)
        for some, ids in zip(places.values(), token_ids, strict=True):
            if len(ids) < context:
                requests.append(_Request("", ids, [samples[place] for place in some], some))
            else:
                why = f"{len(ids)} tokens of prompt, and the model's context is {context}"
                on_answers([(place, Failure("too_long", why)) for place in some])
        requests.sort(key=lambda request: len(request.token_ids))
        for chunk in self._chunks(requests, sampling):
            answers = self._answer(chunk, sampling, seed, top_logprobs)
            on_answers(
                [
                    pair
                    for request, completions in zip(chunk, answers, strict=True)
                    for pair in zip(request.positions, completions, strict=True)
                ]
            )

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The mean of the last hidden states over each text's tokens, length 1; (texts, hidden)."""
        rows: list[list[float]] = []
        for start in range(0, len(texts), 32):
            with self._model_in_use, torch.inference_mode():
                inputs = self.tokenizer(
                    list(texts[start : start + 32]),
                    return_tensors="pt",
                    padding=True,
                    truncation=True,
                    max_length=min(2048, self.model.config.max_position_embeddings),
                    padding_side="right",
                ).to(self.model.device)
                hidden = self.model.base_model(
                    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
                ).last_hidden_state.float()
            mask = inputs["attention_mask"][..., None]
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            rows += torch.nn.functional.normalize(mean, dim=-1).tolist()
        return rows

    def _requests(
        self, prompts: list[Conversation], n: int, sampling: Sampling, seed: int
    ) -> list[_Request]:
        """Distinct prompts, tokenised and checked, shortest first."""
        positions: dict[str, list[int]] = {}
        for position, prompt in enumerate(prompts):
            key = request_key(self.fingerprint, prompt, n=n, sampling=sampling, seed=seed)
            positions.setdefault(key, []).append(position)
        if not positions:
            return []
        token_ids = prompt_tokens(
            self.tokenizer, [prompts[places[0]] for places in positions.values()]
        )
        requests = [
            _Request(key, ids, list(range(n)), places)
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

    def _chunks(self, requests: list[_Request], sampling: Sampling) -> Iterator[list[_Request]]:
        chunk: list[_Request] = []
        num_rows = 0
        for request in requests:
            num_rows += len(request.samples)
            longest = len(request.token_ids) + sampling.max_tokens
            if chunk and num_rows * longest > self.max_batch_tokens:
                yield chunk
                chunk, num_rows = [], len(request.samples)
            chunk.append(request)
        if chunk:
            yield chunk

    def _answer(
        self, chunk: list[_Request], sampling: Sampling, seed: int, top_logprobs: int = 0
    ) -> list[list[Completion]]:
        with self._model_in_use:
            was_training = self.model.training
            self.model.eval()
            try:
                sampled = decode(
                    self.model,
                    [request.token_ids for request in chunk],
                    [request.samples for request in chunk],
                    sampling,
                    seed,
                    self._end_ids,
                    self.tokenizer.pad_token_id,
                    top_logprobs,
                )
            finally:
                self.model.train(was_training)
        texts = self.tokenizer.batch_decode(
            [row.token_ids[:-1] if row.stopped else row.token_ids for row in sampled],
            skip_special_tokens=True,
        )
        completions = iter(
            Completion(
                text=text,
                token_ids=tuple(row.token_ids),
                logps=tuple(row.logps),
                finish_reason="stop" if row.stopped else "length",
                num_tokens=len(row.token_ids),
                first_logps=logps_by_text(self.tokenizer, row.first),
            )
            for text, row in zip(texts, sampled, strict=True)
        )
        return [[next(completions) for _ in request.samples] for request in chunk]


def _load(
    path: str | Path, device: str | torch.device | None, dtype: torch.dtype | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    # transformers' own Qwens are read into our classes, which decode faster.
    reader = load if is_of_family(path) else AutoModelForCausalLM.from_pretrained
    return reader(path, dtype=dtype).to(device), AutoTokenizer.from_pretrained(path)


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
