"""Our models against transformers' on one CUDA GPU: training, memory, decoding.

    PYTHONPATH=. python benchmarks/model_gpu.py [PAGE]      # about five minutes; needs no TRL

Prints Markdown, and writes it to PAGE. Every pair is measured in this one run.
"""

import gc
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from markdown import table
from model_measure import decoding_rows, timed, training_step
from model_shapes import stock
from transformers import PreTrainedModel

from align.model import from_transformers, preset
from align.model.peers import to_theirs

PEAK = 989e12  # FLOP/s of dense bf16 matrix products on an H100 or H200
LENGTH, ROWS, STEPS = 4096, 4, 8
MIXTURE = {
    "hidden_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 16,
    "num_key_value_heads": 4, "head_dim": 64, "moe_intermediate_size": 512, "num_experts": 64,
    "num_experts_per_tok": 8, "norm_topk_prob": True, "vocab_size": 32_768,
    "output_router_logits": True, "tie_word_embeddings": True,
}  # fmt: skip


def flops_a_token(model: PreTrainedModel) -> float:
    """6 a weight that multiplies, the head's counted and idle experts' not; half of attention's
    square, as it is causal."""
    config = model.config
    active = 0
    for name, weight in model.named_parameters():
        share = 1.0
        if "experts." in name and "shared" not in name:
            share = config.num_experts_per_tok / weight.shape[0]
        tied = config.tie_word_embeddings or "embed_tokens" not in name
        active += weight.numel() * share if tied else 0
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 6 * (active + config.num_hidden_layers * config.num_attention_heads * size * LENGTH)


def trained(make: Callable[[], PreTrainedModel], compiled: bool) -> dict[str, float]:
    """Seconds a step, first loss, peak bytes; weights and AdamW's states in bf16."""
    model = make().train()
    torch.manual_seed(1)
    tokens = torch.randint(0, model.config.vocab_size, (ROWS, LENGTH), device="cuda")
    step = training_step(model, tokens, compiled=compiled)
    loss = step()
    for _ in range(2):
        step()
    torch.cuda.reset_peak_memory_stats()
    found = {
        "seconds": statistics.median(timed(step) for _ in range(STEPS)),
        "loss": loss,
        "peak": torch.cuda.max_memory_allocated(),
        "flops": flops_a_token(model),
    }
    del model, step
    gc.collect()
    torch.cuda.empty_cache()
    return found


def training_rows(name: str, make: Callable[[], PreTrainedModel], compiles: tuple[bool, ...]):
    for compiled in compiles:
        found = {}
        for whose, maker in (
            ("transformers", make),
            ("ours", lambda: from_transformers(make())),
        ):
            try:
                found[whose] = trained(maker, compiled)
            except Exception as error:  # a page with a gap says more than none
                print(f"{name} {whose} {compiled=}: {error!r}"[:2000], file=sys.stderr)
        for whose, one in found.items():
            speed = ROWS * LENGTH / one["seconds"]
            theirs = found.get("transformers", one)
            yield [
                name,
                "compiled" if compiled else "eager",
                whose,
                f"{speed:,.0f}",
                f"{speed * one['flops'] / PEAK:.1%}",
                f"{theirs['seconds'] / one['seconds']:.2f}",
                f"{one['peak'] / 2**30:.1f}",
                f"{one['loss']:.4f}",
            ]


def parity_rows(makers: dict[str, Callable[[], PreTrainedModel]]):
    for name, make in makers.items():
        theirs = make().eval()
        ours = from_transformers(theirs)
        torch.manual_seed(3)
        tokens = torch.randint(0, 1000, (2, 512), device="cuda")
        with torch.no_grad():
            got, expected = (model(tokens).logits.float() for model in (ours, theirs))
            exact = from_transformers(theirs).float()(tokens).logits
        errors = [(x - exact).norm().item() / exact.norm().item() for x in (got, expected)]
        yield [name, f"{(got - expected).abs().max():.4f}", *(f"{e:.2e}" for e in errors)]


def main() -> None:
    fields = to_theirs(preset("qwen2.5-0.5b")).to_dict()
    del fields["dtype"]
    makers = {
        "Qwen2.5-0.5B": lambda: stock_on_gpu("Qwen2", fields),
        "MoE, 1.3B, 64 experts, 8 a token": lambda: stock_on_gpu("Qwen3Moe", MIXTURE),
    }
    dense = next(iter(makers))
    publish(
        f"""# Models on a GPU

{torch.cuda.get_device_name()}, torch {torch.__version__}, transformers {transformers.__version__},
sdpa attention. `PYTHONPATH=. python benchmarks/model_gpu.py benchmarks/model_gpu.md`

Training: {ROWS} rows of {LENGTH} tokens, weights and AdamW's states in bf16, median of {STEPS}
steps. MFU: 6 FLOPs a weight and token, causal attention counted by half, of {PEAK / 1e12:.0f}
TFLOP/s."""
    )
    head = ["model", "", "whose", "tokens/s", "MFU", "ratio", "peak GiB", "first loss"]
    for name in makers:
        publish(table([head, *training_rows(name, makers[name], (False, True))]))
    theirs = makers[dense]().eval()
    ours = from_transformers(theirs)
    publish("Decoding, Qwen2.5-0.5B in bf16, prompts of 64 tokens and 128 new ones:")
    batch = ["batch", "", "transformers, tokens/s", "ours, tokens/s", "ratio"]
    publish(table([batch, *decoding_rows(ours, theirs, 1000, 1)]))
    publish("The same weights in bf16, and how far (relative to its norm) each is from fp32:")
    errors = ["model", "largest difference of logits", "ours to fp32", "transformers' to fp32"]
    publish(table([errors, *parity_rows(makers)]))


def publish(part: str) -> None:
    """Print a part of the page as soon as it is measured, and add it to the file."""
    print(f"{part}\n", flush=True)
    if len(sys.argv) > 1:
        page = Path(sys.argv[1])
        before = "" if part.startswith("# ") else page.read_text(encoding="utf-8") + "\n"
        page.write_text(f"{before}{part}\n", encoding="utf-8")


def stock_on_gpu(family: str, fields: dict) -> PreTrainedModel:
    with torch.device("cuda"):
        return in_bf16(stock(family, fields, attn_implementation="sdpa"))


def in_bf16(model: PreTrainedModel) -> PreTrainedModel:
    """Its weights alone: `.bfloat16()` would round transformers' RoPE frequencies too."""
    for weight in model.parameters():
        weight.data = weight.data.bfloat16()
    model.config.dtype = torch.bfloat16
    return model


if __name__ == "__main__":
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    main()
