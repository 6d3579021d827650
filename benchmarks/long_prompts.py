"""Vertical-slash attention against dense over a long prompt, and write benchmarks/long_prompts.md.

    python benchmarks/long_prompts.py

A minute on two cores. A head is planted: a few keys that every query looks at, a few distances
that it looks back by, and noise over all the rest.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from markdown import table
from model_measure import timed
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

from align.model.sparse import VerticalSlash, recall, vertical_slash_attention

PAGE = Path(__file__).resolve().parent / "long_prompts.md"
LENGTHS = (8192, 32_768)
BUDGETS = ((100, 200), (500, 1000), (1000, 6096))
SIZE, SCALING = 64, 64**-0.5
COLUMNS, DISTANCES = 40, (1, 2, 3, 64, 300, 1500)


def planted(length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of one head, (1, 1, length, SIZE)."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    marks = normalize(random(length, SIZE), dim=-1) * 6
    common = normalize(random(SIZE), dim=-1) * 6
    key = marks.clone()
    key[torch.randperm(length, generator=generator)[:COLUMNS]] += common * 2
    query = random(length, SIZE) + common
    for distance in DISTANCES:
        query[distance:] += marks[: length - distance]
    return tuple(x[None, None] for x in (query, key, random(length, SIZE)))


def least_of_three(call: Callable[[], object]) -> float:
    """Seconds."""
    return min(timed(call) for _ in range(3))


@torch.inference_mode()
def rows() -> Iterator[list[str]]:
    for length in LENGTHS:
        query, key, value = planted(length)
        dense = least_of_three(
            lambda q=query, k=key, v=value: scaled_dot_product_attention(q, k, v, is_causal=True)
        )
        for vertical, slash in BUDGETS:
            settings = VerticalSlash(vertical=vertical, slash=slash, threshold=0)

            def read(q=query, k=key, v=value, settings=settings) -> tuple[Tensor, Tensor]:
                return vertical_slash_attention(
                    q, k, v, settings=settings, layer=0, scaling=SCALING
                )

            sparse, (_, log_sums) = least_of_three(read), read()
            covered = recall(query[0], key[0], log_sums[0], SCALING).item()
            yield [
                f"{length:,}", f"{vertical:,} + {slash:,}", f"{covered:.2f}",
                f"{dense * 1e3:,.0f}", f"{sparse * 1e3:,.0f}", f"{dense / sparse:.2f}",
            ]  # fmt: skip


def main() -> None:
    head = ["tokens", "keys + distances", "recall", "dense, ms", "sparse, ms", "ratio"]
    text = f"""# Reading a long prompt sparsely on a CPU

One planted head of {SIZE} features, fp32, {torch.get_num_threads()} threads; dense is torch's fused
attention.

    python benchmarks/long_prompts.py

{table([head, *rows()])}

Recall: the share of attention that the kept entries cover, mean over the queries. A block of 64
queries gathers the keys that any of them keeps, or takes all if those are most, so scattered
distances cost more than runs of them.
"""
    PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
