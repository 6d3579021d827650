"""What the benchmarks of models on a CPU and on a GPU measure alike."""

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from transformers import PreTrainedModel

from align.generate import Sampling
from align.generate.decode import decode

GREEDY = (Sampling(temperature=0, max_tokens=128), {"do_sample": False})
SAMPLED = (
    Sampling(temperature=0.8, top_p=0.95, max_tokens=128),
    {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 0},
)
PROMPT = 64


def training_step(
    model: PreTrainedModel, tokens: torch.Tensor, *, autocast: bool = False, compiled: bool = False
) -> Callable[[], float]:
    """Forward, backward and AdamW; each call is a step and gives its loss."""
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> float:
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=autocast):
            loss = run(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def timed(call: Callable[[], object]) -> float:
    """Seconds."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def decoding_rows(
    ours: PreTrainedModel, theirs: PreTrainedModel, vocabulary: int, repeats: int
) -> Iterator[list[str]]:
    """Batch, how, and tokens/s of `generate` and of `decode`: the medians, and their ratio."""
    theirs.generation_config.eos_token_id = None
    for batch in (1, 64, 256):
        torch.manual_seed(2)
        prompts = torch.randint(0, vocabulary, (batch, PROMPT), device=theirs.device)
        for name, (sampling, how) in (("greedy", GREEDY), ("sampled", SAMPLED)):
            new = sampling.max_tokens

            def by_generate(prompts=prompts, how=how, new=new) -> object:
                return theirs.generate(
                    prompts, max_new_tokens=new, min_new_tokens=new, pad_token_id=0, **how
                )

            def by_ours(prompts=prompts, sampling=sampling) -> object:
                return decode(ours, prompts.tolist(), [[0]] * len(prompts), sampling, 0, [], 0)

            seconds: dict[Callable, list[float]] = {by_generate: [], by_ours: []}
            for call in seconds:
                call()
            for _ in range(repeats):
                for call, taken in seconds.items():
                    taken.append(timed(call))
            speeds = [batch * new / statistics.median(taken) for taken in seconds.values()]
            figures = [f"{speed:,.0f}" for speed in speeds]
            yield [str(batch), name, *figures, f"{speeds[1] / speeds[0]:.2f}"]
