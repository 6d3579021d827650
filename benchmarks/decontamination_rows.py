"""Training rows of realistic length, and rows with an overlap planted in them."""

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.pretrain.prose import make_prose
from synth.decontamination.rule import least_common
from synth.text.words import words_of

Row = dict[str, Any]

_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")


def _halves(data: Path) -> tuple[list[Row], list[Row]]:
    lines = (data / "gsm8k_train.jsonl").read_text(encoding="utf-8").splitlines()
    problems = [json.loads(line) for line in lines]
    return problems[: len(problems) // 2], problems[len(problems) // 2 :]


def evaluation_files(data: Path, folder: Path) -> list[Path]:
    """IFEval, HumanEval, and the first half of the GSM8K problems."""
    half = folder / "gsm8k_half.jsonl"
    half.write_text("\n".join(map(json.dumps, _halves(data)[0])), encoding="utf-8")
    return [data / "ifeval_input.jsonl", data / "HumanEval.jsonl.gz", half]


class Training:
    """Draws rows of what the second half of the GSM8K problems, and prose, are made of."""

    def __init__(self, data: Path) -> None:
        problems = _halves(data)[1]
        self.questions = [s for p in problems for s in _SENTENCE_END.split(p["question"])]
        self.steps = [line for p in problems for line in p["answer"].splitlines()]
        documents = make_prose(max_characters=600_000, heldout_characters=0).documents
        self.prose = [document["text"] for document in documents]
        self.sentences = [s for text in self.prose for s in _SENTENCE_END.split(text)]
        self.vocabulary = sorted({word for text in self.questions for word in words_of(text)})

    def row(self, rng: random.Random) -> Row:
        if rng.random() < 0.8:
            prompt = rng.choices(self.questions, k=rng.randint(2, 6))
            return _row(" ".join(prompt), "\n".join(rng.choices(self.steps, k=rng.randint(2, 7))))
        prompt = rng.choices(self.sentences, k=rng.randint(1, 3))
        return _row(" ".join(prompt), " ".join(rng.choices(self.sentences, k=rng.randint(2, 8))))


def _row(prompt: str, completion: str) -> Row:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": completion}],
    }


@dataclass(frozen=True)
class Plant:
    """A row of which one message has words of an evaluation text, in order.

    spread: other words stand between. shorter: which of the two texts is, "evaluation" or
    "training". missing: how many words there are less than the rule asks. words: the message.
    """

    row: Row
    spread: bool
    shorter: str
    missing: int
    words: Sequence[str]


def plants(
    texts: Sequence[Sequence[str]], training: Training, num_of_kind: int, rng: random.Random
) -> Iterator[Plant]:
    """Six kinds: contiguous or interleaved, either text the shorter one, and interleaved again
    with one word less."""
    for spread, missing in ((False, 0), (True, 0), (True, 1)):
        for shorter in ("evaluation", "training"):
            for _ in range(num_of_kind):
                words = _message(rng, texts, training.vocabulary, spread, shorter, missing)
                host = training.row(rng)
                name = rng.choice(["prompt", "completion"])
                text = " ".join(rng.choice([word, word.title(), word + ","]) for word in words)
                message = {**host[name][0], "content": text}
                yield Plant({**host, name: [message]}, spread, shorter, missing, words)


def _message(
    rng: random.Random,
    texts: Sequence[Sequence[str]],
    vocabulary: Sequence[str],
    spread: bool,
    shorter: str,
    missing: int,
) -> list[str]:
    source = rng.choice(texts)
    while shorter == "training" and len(source) == 13:
        source = rng.choice(texts)
    if shorter == "evaluation":
        length = len(source) + rng.randint(0, 2 * len(source))
    else:
        length = rng.randint(13, len(source) - 1)
    common = least_common(min(length, len(source))) - missing
    start = rng.randint(0, len(source) - common)
    taken = range(start, start + common)
    own = range(common)
    if spread:
        taken = sorted(rng.sample(range(len(source)), common))
        own = sorted(rng.sample(range(length), common))
    theirs = set(source)
    between = iter([w for w in rng.sample(vocabulary, 1_500) if w not in theirs])
    message = {place: source[word] for place, word in zip(own, taken, strict=True)}
    return [message[place] if place in message else next(between) for place in range(length)]
