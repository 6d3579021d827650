"""How fast answers are judged: maths beside math-verify called singly, and IFEval's constraints."""

import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from markdown import table

import verifiers

Pair = tuple[str, str]


def _plain(rng: random.Random) -> Pair:
    number = rng.choice([rng.randint(-9_999, 99_999), round(rng.uniform(-99, 99), 2)])
    return str(number), str(number if rng.random() < 0.5 else number + 1)


def _fraction(rng: random.Random) -> Pair:
    above, below, factor = rng.randint(1, 40), rng.randint(2, 40), rng.randint(2, 5)
    return rf"\frac{{{above}}}{{{below}}}", rf"\frac{{{above * factor}}}{{{below * factor}}}"


def _surd(rng: random.Random) -> Pair:
    inside, factor = rng.choice([2, 3, 5, 7]), rng.randint(2, 9)
    off = rng.random() < 0.5
    return rf"\sqrt{{{inside * factor**2 + off}}}", rf"{factor}\sqrt{{{inside}}}"


def _polynomial(rng: random.Random) -> Pair:
    a, b, off = rng.randint(1, 9), rng.randint(1, 9), rng.random() < 0.5
    return f"(x+{a})(x-{b})", f"x^2+{a - b + off}x-{a * b}".replace("+-", "-")


def _trigonometric(rng: random.Random) -> Pair:
    a, off = rng.randint(2, 9), rng.random() < 0.5
    return rf"{a}\sin(2x)", rf"{2 * a + off}\sin(x)\cos(x)"


def _interval(rng: random.Random) -> Pair:
    a, b = rng.randint(1, 50), rng.randint(51, 99)
    return rf"(-\infty,{a}]\cup({b},\infty)", rf"({b},\infty)\cup(-\infty,{a}]"


def _set(rng: random.Random) -> Pair:
    members = [rng.randint(1, 99) for _ in range(3)]
    return (
        r"\{" + ",".join(map(str, members)) + r"\}",
        r"\{" + ",".join(map(str, reversed(members))) + r"\}",
    )


KINDS = {
    "plain numbers": _plain,
    "fractions": _fraction,
    "surds": _surd,
    "polynomials": _polynomial,
    "trigonometric": _trigonometric,
    "interval unions": _interval,
    "sets": _set,
}


def _singly(pairs: Sequence[Pair]) -> float:
    """Seconds for math-verify's own parse and verify, one after another in this process."""
    from math_verify import parse, verify

    logging.disable(logging.WARNING)
    parse("$1$"), verify(parse("$1$"), parse("$2$"))
    started = time.perf_counter()
    for gold, answer in pairs:
        verify(parse(f"${gold}$"), parse(rf"So it is $\boxed{{{answer}}}$."))
    return time.perf_counter() - started


def _ours(pairs: Sequence[Pair]) -> float:
    completions = [rf"So it is $\boxed{{{answer}}}$." for _, answer in pairs]
    started = time.perf_counter()
    verifiers.math.verify_batch(completions, [gold for gold, _ in pairs])
    return time.perf_counter() - started


def maths(number: int = 400) -> str:
    """Uncached pairs of each kind, half of them equal, with one worker process for ours."""
    rng = random.Random(17)
    verifiers.math.configure(workers=1)
    _ours([("x+1", "1+x")])
    rows = [["answers", "math-verify singly, ms each", "ours, ms each", "times as fast"]]
    totals = [0.0, 0.0]
    for title, make in KINDS.items():
        pairs = _different(make, rng, number)
        halves = [pairs[i::4] for i in range(4)]
        theirs = sum(map(_singly, halves[::2]))
        ours = sum(map(_ours, halves[1::2]))
        if make is not _plain:
            totals = [totals[0] + theirs, totals[1] + ours]
        rows.append(_row(title, theirs, ours, len(pairs) / 2))
    rows.append(_row("all but plain numbers", *totals, (len(KINDS) - 1) * number / 2))
    return table(rows)


def _row(title: str, theirs: float, ours: float, number: float) -> list[str]:
    each = [f"{seconds / number * 1e3:.3f}" for seconds in (theirs, ours)]
    return [title, *each, f"**{theirs / ours:.2f}**"]


def _different(make: Callable[[random.Random], Pair], rng: random.Random, number: int) -> list:
    pairs: dict[Pair, None] = {}
    for _ in range(100 * number):
        pairs[make(rng)] = None
        if len(pairs) == number:
            break
    return list(pairs)


def gsm8k(data: Path) -> str:
    """Worked answers of GSM8K's training set against their numbers, in this process alone."""
    with open(data / "gsm8k_train.jsonl", encoding="utf-8") as file:
        solutions = [json.loads(line)["answer"] for line in file]
    answers = [solution.rpartition("####")[2].strip() for solution in solutions]
    wrong = [str(int(answer.replace(",", "")) + 1) for answer in answers]
    started = time.perf_counter()
    right = sum(v.correct is True for v in map(verifiers.math.verify, solutions, answers))
    caught = sum(v.correct is False for v in map(verifiers.math.verify, solutions, wrong))
    seconds = time.perf_counter() - started
    return (
        f"{2 * len(solutions) / seconds:,.0f} verdicts a second on GSM8K's worked answers: "
        f"{right} of {len(solutions)} right ones accepted, {caught} of {len(wrong)} altered ones "
        "rejected, on one core."
    )


def ifeval(data: Path) -> str:
    """Each prompt's own text as the response to it."""
    with open(data / "ifeval_input.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows_of = {"strict": 0.0, "loose": 0.0}
    undecided = 0
    for mode in rows_of:
        started = time.perf_counter()
        for row in rows:
            verdict = verifiers.instructions.verify(row["prompt"], None, mode=mode, **row)
            undecided += verdict.correct is None
        rows_of[mode] = time.perf_counter() - started
    number = sum(len(row["instruction_id_list"]) for row in rows)
    return (
        f"{len(rows)} prompts with {number} constraints: {rows_of['strict']:.2f} s strict, "
        f"{rows_of['loose']:.2f} s loose, no exception, {undecided} undecided."
    )
