"""Measure decontamination on 100,000 rows, and write benchmarks/decontamination.md.

    python benchmarks/decontamination_figures.py --data FOLDER

FOLDER holds gsm8k_train.jsonl, HumanEval.jsonl.gz and ifeval_input.jsonl.
"""

import argparse
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import chain
from pathlib import Path
from typing import TypeVar

import decontamination_rows as made
import numpy as np
import rapidfuzz
from markdown import table
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from synth.decontamination import Evaluations, Overlap
from synth.decontamination.conversations import conversations_of
from synth.decontamination.reading import texts_of
from synth.decontamination.sieve import Sieve
from synth.text.words import words_of

PAGE = Path(__file__).resolve().parent / "decontamination.md"
NUM_ROWS, NUM_OF_KIND, NUM_EXACT, NUM_TIMED = 100_000, 500, 2_000, 5_000
Words = Sequence[str]
T = TypeVar("T")


def row_texts(row: made.Row) -> list[Words]:
    """All that the rule is applied to: each message, and the conversation."""
    [messages] = [[words_of(text) for text in c] for c in conversations_of(row)]
    return [*messages, list(chain.from_iterable(messages))]


def by_exact_rule(rows: Sequence[made.Row], texts: Sequence[Words]) -> Iterator[bool]:
    """Whether a row overlaps with any text, by comparing it with every one of them."""
    codes: dict[str, str] = {}

    def spelled(words: Words) -> str:
        return "".join([codes.setdefault(word, chr(len(codes))) for word in words])

    all_spelled, lengths = [spelled(words) for words in texts], np.array([*map(len, texts)])
    for row in rows:
        found = False
        for words in row_texts(row):
            [lcs] = cdist([spelled(words)], all_spelled, scorer=LCSseq.similarity, dtype=np.int32)
            found |= bool(np.any((lcs >= 13) & (5 * lcs >= 3 * np.minimum(lengths, len(words)))))
        yield found


def plain_lcs(one: Words, other: Words) -> int:
    """The textbook's table."""
    row = np.zeros(len(other) + 1, dtype=int)
    theirs = np.array(other)
    for word in one:
        row[1:] = np.maximum.accumulate(np.maximum(row[1:], row[:-1] + (theirs == word)))
    return int(row[-1])


def justified(row: made.Row, overlap: Overlap, words: Words) -> bool:
    """Whether the pair that was logged overlaps, by the textbook's table."""
    lcs, shorter = overlap.lcs, overlap.shorter
    return (
        lcs >= 13
        and 5 * lcs >= 3 * shorter
        and any(
            shorter == min(len(text), len(words)) and lcs == plain_lcs(text, words)
            for text in row_texts(row)
        )
    )


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What it returns, and its seconds by the clock and of this process."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - processor


def stages(rows: Sequence[made.Row], texts: Sequence[Words], evaluations: Evaluations) -> str:
    """Where the time goes, in microseconds a row."""
    sieve = Sieve(texts)
    split = [row_texts(row) for row in rows]
    flat = [words for texts in split for words in texts]
    ranked = [sieve.ranks(words) for words in flat]
    whole = [(ranks, len(words)) for ranks, words in zip(ranked, flat, strict=True)]
    parts = {
        "words of the texts": lambda: [
            words_of(text) for row in rows for text in conversations_of(row)[0]
        ],
        "ranks of the words": lambda: [sieve.ranks(words) for words in flat],
        "evaluation texts not longer": lambda: [sieve.not_longer(*w) for w in whole[2::3]],
        "evaluation texts longer": lambda: [sieve.longer(*w) for w in whole],
    }
    spent = {name: timed(work)[2] for name, work in parts.items()}
    total = timed(lambda: evaluations.find(rows))[2]
    spent["spelling and comparing (the rest)"] = total - sum(spent.values())
    lines = [[name, f"{s / len(rows) * 1e6:.0f}", f"{s / total:.0%}"] for name, s in spent.items()]
    return table([["stage", "µs a row", "share"], *lines])


def planted_table(plants: dict[int, made.Plant], removed: Set[int], texts: Sequence[Words]) -> str:
    """What became of the planted rows, and of how many a 13-gram in common would have told."""
    grams = {words[i : i + 13] for words in texts for i in range(len(words) - 12)}
    rows = [["planted", "shorter is", "words in common", "rows", "found", "share a 13-gram"]]
    kinds = dict.fromkeys((p.spread, p.shorter, p.missing) for p in plants.values())
    for kind in kinds:
        spread, shorter, missing = kind
        numbers = [n for n, p in plants.items() if (p.spread, p.shorter, p.missing) == kind]
        num_grams = sum(
            any(tuple(plants[n].words[i : i + 13]) in grams for i in range(len(plants[n].words)))
            for n in numbers
        )
        num_found = sum(number in removed for number in numbers)
        rows.append(
            [
                "interleaved" if spread else "contiguous",
                f"the {shorter} text",
                "one less than the rule asks" if missing else "just what the rule asks",
                str(len(numbers)),
                str(num_found) if missing else f"**{num_found / len(numbers):.1%}**",
                f"{num_grams / len(numbers):.1%}",
            ]
        )
    return table(rows)


def documents_table(prose: Sequence[str], evaluations: Evaluations) -> str:
    words = " ".join(prose).split()
    rows = [["words", "documents", "removed", "ms a document"]]
    for length in (100, 200, 500, 1_000, 2_000, 4_000):
        starts = range(0, min(len(words) - length, 200 * length), length)
        documents = [{"text": " ".join(words[start : start + length])} for start in starts]
        found, _, seconds = timed(lambda documents=documents: evaluations.find(documents))
        share = sum(overlap is not None for overlap in found) / len(documents)
        cells = [f"{length:,}", str(len(documents)), f"{share:.1%}"]
        rows.append([*cells, f"{seconds / len(documents) * 1e3:.2f}"])
    return table(rows)


def exact_section(
    rows: Sequence[made.Row],
    plants: dict[int, made.Plant],
    removed: dict[int, Overlap],
    named: dict[str, Words],
    texts: Sequence[Words],
    rng: random.Random,
) -> tuple[str, float]:
    """What the exact rule says of some rows, and how many seconds it takes for one."""
    sample = rng.sample([number for number in range(len(rows)) if number not in plants], NUM_EXACT)
    below = [number for number, plant in plants.items() if plant.missing]
    checked = [*sample, *below]
    found, _, seconds = timed(lambda: list(by_exact_rule([rows[n] for n in checked], texts)))
    exact = dict(zip(checked, found, strict=True))
    false = sum(number in removed and not exact[number] for number in checked)
    missed = sum(number not in removed and exact[number] for number in checked)
    unfounded = sum(not justified(rows[n], o, named[o.evaluation]) for n, o in removed.items())
    of_sample = sum(exact[number] for number in sample)
    section = f"""{len(sample):,} ordinary rows and the {len(below):,} planted one word below the
rule, compared with every evaluation text: **{false} removed wrongly, {missed} missed** ({of_sample}
of the ordinary ones overlap). Of all {len(removed):,} removals {unfounded} name a pair that does
not overlap by the textbook's table."""
    return section, seconds / len(checked)


def page(data: Path, folder: Path) -> str:
    rng = random.Random(0)
    paths = made.evaluation_files(data, folder)
    named = {name: words_of(text) for name, text in texts_of(paths)}
    long_enough = [tuple(words) for words in named.values() if len(words) >= 13]
    texts = sorted(dict.fromkeys(long_enough), key=len)
    training = made.Training(data)
    rows = [training.row(rng) for _ in range(NUM_ROWS)]
    places = rng.sample(range(NUM_ROWS), 6 * NUM_OF_KIND)
    plants = dict(zip(places, made.plants(texts, training, NUM_OF_KIND, rng), strict=True))
    for place, plant in plants.items():
        rows[place] = plant.row
    lengths = sorted(len(row_texts(row)[-1]) for row in rows[:NUM_TIMED])

    evaluations, read_s, _ = timed(lambda: Evaluations.read(paths))
    found, wall_s, processor_s = timed(lambda: evaluations.find(rows))
    removed = {number: overlap for number, overlap in enumerate(found) if overlap}
    exact, exact_s = exact_section(rows, plants, removed, named, texts, rng)
    return f"""# Decontamination, measured

Made by `python benchmarks/decontamination_figures.py` on one core ({platform.machine()}), Python
{platform.python_version()}, rapidfuzz {rapidfuzz.__version__}.

Evaluation texts: every string of 13 words or more of IFEval, HumanEval (prompts, solutions, tests)
and half of GSM8K's training set in the place of its test set, {len(evaluations):,} different texts,
read in {read_s:.1f} s. Training rows: {NUM_ROWS:,} of prompt and completion. Four of five are
sentences of questions and lines of answers of the other half of GSM8K, put together anew; the fifth
is prose, Python's documentation. Half of the rows have {lengths[len(lengths) // 2]} words or more,
a tenth {lengths[len(lengths) * 9 // 10]} or more. Each message and each conversation is compared.

| rows | seconds | processor seconds | rows a second | removed | against comparing all pairs |
| --- | --- | --- | --- | --- | --- |
| {NUM_ROWS:,} | **{wall_s:.1f}** | {processor_s:.1f} | **{NUM_ROWS / wall_s:,.0f}** | \
{len(removed):,} | **{exact_s * NUM_ROWS / processor_s:.0f} times as fast** |

"All pairs" is the same bit-parallel comparison of each text with every evaluation text.

{stages(rows[:NUM_TIMED], texts, evaluations)}

## Planted overlaps

In the place of one message of an ordinary row. The words between are such as the evaluation text
does not have.

{planted_table(plants, removed.keys(), texts)}

Some rows with one word less are removed rightly: their other message adds a word, or another
evaluation text overlaps.

## Against the exact rule

{exact}

## Long documents

What the rule itself does to prose: a long text has 0.6 of the words of some short question in the
question's order, by chance.

{documents_table(training.prose, evaluations)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(page(data, Path(folder)), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
