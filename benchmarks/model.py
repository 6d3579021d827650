"""Our models against transformers' own on this CPU, and write benchmarks/model.md.

    python benchmarks/model.py [--vllm PYTHON] [--only training|memory|decoding]

About a quarter of an hour on two cores; nothing else may run meanwhile. PYTHON is an interpreter
that has vLLM (`make test-vllm` makes one in .venv-vllm), to be measured beside decoding.
"""

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from markdown import table
from model_measure import PROMPT, decoding_rows, timed, training_step
from model_shapes import SHAPES, stock
from torch.profiler import profile

from align.model import from_transformers, to_transformers
from align.model.linear import ONEDNN

PAGE = Path(__file__).resolve().parent / "model.md"
ROWS, LENGTH, STEPS = 8, 256, 15
COMPILED = ("Qwen2.5, 3.7M", "Qwen2.5, 29M", "Qwen3-MoE, 3.6M, 64 experts, 8 a token",
            "Qwen3-MoE, 27M, 64 experts, 8 a token")  # fmt: skip
PROFILED = ("Qwen2.5, 3.7M", "Qwen3-MoE, 3.6M, 64 experts, 8 a token",
            "Qwen3-MoE, 27M, 64 experts, 8 a token")  # fmt: skip


def tokens_of(vocabulary: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(0, vocabulary, (ROWS, LENGTH))


def training_rows() -> Iterator[list[str]]:
    """Steps of both by turns: median seconds, their ratio, and the first losses' difference."""
    for name, (family, fields) in SHAPES.items():
        for compiled in (False, True) if name in COMPILED else (False,):
            for autocast in (False, True):
                torch._dynamo.reset()
                theirs = stock(family, fields).train()
                ours = from_transformers(theirs).train()
                tokens = tokens_of(fields["vocab_size"])
                steps = [
                    training_step(model, tokens, autocast=autocast, compiled=compiled)
                    for model in (theirs, ours)
                ]
                losses = [step() for step in steps]
                for step in steps * 2:
                    step()
                seconds: list[list[float]] = [[], []]
                for _ in range(STEPS):
                    for step, taken in zip(steps, seconds, strict=True):
                        taken.append(timed(step))
                medians = [statistics.median(taken) for taken in seconds]
                speeds = [f"{ROWS * LENGTH / median:,.0f}" for median in medians]
                how = "compiled" if compiled else ""
                yield [
                    name,
                    "bf16" if autocast else "fp32",
                    how,
                    *speeds,
                    f"**{medians[0] / medians[1]:.2f}**",
                    f"{losses[1] - losses[0]:+.1e}",
                ]
                print(".", end="", flush=True)


def memory_rows() -> Iterator[list[str]]:
    """MiB above weights, gradients and optimizer states at the peak of a step; a process each."""
    for name in SHAPES:
        for precision in ("fp32", "bf16"):
            peaks = []
            for whose in ("theirs", "ours"):
                words = [sys.executable, __file__, "--peak", name, whose, precision]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
                peaks.append(float(done.stdout.split()[-1]))
            yield [name, precision, *(f"{p:,.0f}" for p in peaks), f"{peaks[1] / peaks[0]:.2f}"]


def print_peak(name: str, whose: str, precision: str) -> None:
    family, fields = SHAPES[name]
    model = stock(family, fields)
    if whose == "ours":
        model = from_transformers(model)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    step = training_step(
        model.train(), tokens_of(fields["vocab_size"]), autocast=precision == "bf16"
    )
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    start = resident("VmRSS")
    states = 2 * sum(weight.nbytes for weight in model.parameters())
    for _ in range(3):
        step()
    print((resident("VmHWM") - start - states) / 2**20)


def resident(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) * 1024


def most_costly(name: str, whose: str) -> list[str]:
    """The operations that most of an fp32 step goes to, with their share of its time."""
    family, fields = SHAPES[name]
    model = stock(family, fields).train()
    model = model if whose == "theirs" else from_transformers(model)
    step = training_step(model, tokens_of(fields["vocab_size"]))
    for _ in range(3):
        step()
    with profile() as record:
        step()
    found = sorted(record.key_averages(), key=lambda each: -each.self_cpu_time_total)
    whole = sum(each.self_cpu_time_total for each in found)
    return [f"`{each.key}` {each.self_cpu_time_total / whole:.0%}" for each in found[:6]]


def profiles() -> str:
    lines = []
    for name in PROFILED:
        theirs, ours = (", ".join(most_costly(name, whose)) for whose in ("theirs", "ours"))
        lines.append(f"- {name}. transformers: {theirs}; ours: {ours}.")
    return "\n".join(lines)


def vllm_speeds(python: str, model) -> list[str]:
    """Tokens/s of vLLM on the same weights: greedy and sampled, at each batch."""
    with tempfile.TemporaryDirectory() as folder:
        to_transformers(model).save_pretrained(folder)
        script = Path(__file__).with_name("model_vllm.py")
        done = subprocess.run([python, str(script), folder], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"vLLM failed:\n{done.stderr[-3000:]}")
    return [f"{speed:,.0f}" for speed in json.loads(done.stdout.splitlines()[-1])]


def decoding_table(python: str | None) -> str:
    family, fields = SHAPES["Qwen2.5, 3.7M"]
    theirs = stock(family, fields).eval()
    ours = from_transformers(theirs)
    rows = list(decoding_rows(ours, theirs, fields["vocab_size"], 3))
    head = ["batch", "", "`generate`, tokens/s", "ours, tokens/s", "ratio"]
    if python:
        head.append("vLLM on CPU, tokens/s")
        for row, speed in zip(rows, vllm_speeds(python, ours), strict=True):
            row.append(speed)
    return table([head, *rows])


def write(sections: dict[str, str]) -> None:
    """The page, with the sections that were not measured now as they were."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    parts = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", old, re.M | re.S))
    parts |= sections
    made_by = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    text = f"""# Our models against transformers' on a CPU

{made_by[1] if made_by else platform.machine()}, {torch.get_num_threads()} threads;
torch {torch.__version__}, transformers {transformers.__version__};
fp32 products of ours by {"oneDNN" if ONEDNN else "MKL, as torch's own"}.

    python benchmarks/model.py --vllm .venv-vllm/bin/python

"""
    for name in ("Training", "Memory", "Decoding"):
        if name in parts:
            text += f"## {name}\n\n{parts[name].strip()}\n\n"
    PAGE.write_text(text.rstrip() + "\n", encoding="utf-8")
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm", metavar="PYTHON")
    parser.add_argument("--only", choices=("training", "memory", "decoding"))
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if given.peak:
        print_peak(*given.peak)
        return
    sections = {}
    if given.only in (None, "training"):
        head = ["model", "", "", "transformers, tokens/s", "ours, tokens/s", "ratio", "loss"]
        sections[
            "Training"
        ] = f"""One step (forward, backward, fused AdamW) on {ROWS} rows of {LENGTH}
tokens, the two by turns, median of {STEPS}. Mixtures with their load-balancing loss. `loss`: the
first loss of ours less theirs, on the same weights; a mixture's differ by the balance, which ours
takes a layer and transformers over all layers at once.

{table([head, *training_rows()])}

What an fp32 step goes to, by the operations' own time (`aten::mm` of a mixture: its grouped
products).

{profiles()}"""
    if given.only in (None, "memory"):
        head = ["model", "", "transformers, MiB", "ours, MiB", "ratio"]
        sections["Memory"] = f"""Peak of a step's resident memory above weights, gradients and the
optimizer's states, a process each.

{table([head, *memory_rows()])}"""
    if given.only in (None, "decoding"):
        sections[
            "Decoding"
        ] = f"""3.7M parameters, fp32, prompts of {PROMPT} tokens (read within the
time) and 128 new ones, median of 3. Sampled: temperature 0.8, top_p 0.95.

{decoding_table(given.vllm)}"""
    write(sections)


if __name__ == "__main__":
    main()
