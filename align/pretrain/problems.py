"""Problems from reasoning-gym with worked solutions, split so that no question is in two sets.

A corpus of right answers alone would leave alignment nothing to bring out. So a document either
works its problem out, rightly and step by step, or blurts an answer, often a wrong one. Which of
the two a model trained on them does is chance, until it is aligned.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import reasoning_gym
from reasoning_gym.arithmetic.leg_counting import ANIMALS

from align.errors import AlignError

ANSWER_MARK = "#### "
"""Starts the last line of every answer, as in GSM8K."""

FRUITLESS_DRAWS = 500
"""Draws in a row that bring nothing new before a generator counts as exhausted."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A reasoning-gym generator, how to work its problems out, and how to get them wrong."""

    config: dict[str, Any]
    work: Callable[[Row], list[str]]
    """From the item to the steps, one a line, without the answer line."""
    blunder: Callable[[Row, random.Random], str]
    """A plausible answer that is not right."""


# The steps repeat the question's own spelling ("4 - 1", not "4-1"), so that its tokens can be
# copied: a small model learns to copy long before it learns to respell.


def _work_sum(item: Row) -> list[str]:
    terms = item["metadata"]["expression"].split()
    total, steps = int(terms[0]), []
    for operator, term in zip(terms[1::2], terms[2::2], strict=True):
        after = total + int(term) if operator == "+" else total - int(term)
        steps.append(f"{total} {operator} {term} = {after}")
        total = after
    return steps


def _work_legs(item: Row) -> list[str]:
    counts = item["metadata"]["animals"]
    legs = [count * ANIMALS[animal] for animal, count in counts.items()]
    steps = [
        f"{count} {animal}{'s' if count > 1 else ''} = {part}"
        for (animal, count), part in zip(counts.items(), legs, strict=True)
    ]
    total = legs[0]
    for part in legs[1:]:
        steps.append(f"{total} + {part} = {total + part}")
        total += part
    return steps


def _work_filter(item: Row) -> list[str]:
    facts, steps = item["metadata"], []
    limit = int(facts["filter_value"])
    for number in facts["original_numbers"]:
        relation = ">" if int(number) > limit else "<" if int(number) < limit else "="
        kept = "keep" if number in facts["result"] else "drop"
        steps.append(f"{number} {relation} {limit} {kept}")
    return steps


def _work_equation(item: Row) -> list[str]:
    left, right = item["metadata"]["equation"].split(" = ")
    variable, (first, operator, second) = item["metadata"]["variable"], left.split()
    if second == variable:  # 8 - x = 3, or 8 + x = 11
        given = f"{first} - {right}" if operator == "-" else f"{right} - {first}"
    else:  # x - 8 = 3, or x + 8 = 11
        given = f"{right} {'+' if operator == '-' else '-'} {second}"
    return [f"{variable} = {given} = {item['answer']}"]


def _near(item: Row, rng: random.Random) -> str:
    return str(int(item["answer"]) + rng.choice((-3, -2, -1, 1, 2, 3)))


def _near_count(item: Row, rng: random.Random) -> str:
    right = int(item["answer"])
    return str(rng.choice([n for n in range(max(0, right - 3), right + 4) if n != right]))


def _other_numbers(item: Row, rng: random.Random) -> str:
    facts = item["metadata"]
    while True:
        guess = [number for number in facts["original_numbers"] if rng.random() < 0.5]
        if guess != facts["result"]:
            return str(guess)


KINDS = {
    "chain_sum": Kind(
        {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1}, _work_sum, _near
    ),
    "basic_arithmetic": Kind(
        {
            "min_terms": 2,
            "max_terms": 3,
            "min_digits": 1,
            "max_digits": 1,
            "operators": ["+", "-"],
            "allow_parentheses": False,
        },
        _work_sum,
        _near,
    ),
    "simple_equations": Kind(
        {
            "min_terms": 2,
            "max_terms": 2,
            "min_value": 1,
            "max_value": 9,
            "operators": ("+", "-"),
            "operators_weights": [0.5, 0.5],
        },
        _work_equation,
        _near,
    ),
    "leg_counting": Kind(
        {"min_animals": 2, "max_animals": 2, "min_instances": 1, "max_instances": 2},
        _work_legs,
        _near_count,
    ),
    "number_filtering": Kind(
        {
            "min_numbers": 3,
            "max_numbers": 3,
            "max_decimals": 0,
            "min_value": 0.0,
            "max_value": 9.0,
        },
        _work_filter,
        _other_numbers,
    ),
}
"""The kinds of problems by reasoning-gym's name for them."""


@dataclass(frozen=True)
class Problems:
    """Corpus documents, post-training prompts, held-out prompts, and what was left out and why."""

    documents: list[Row]
    prompts: list[Row]
    heldout: list[Row]
    counts: dict[str, int]


def answer_of(text: str) -> str | None:
    """What stands after the last line's `####`, or None when the last line has no mark."""
    last = text.rstrip().rpartition("\n")[2]
    return last[len(ANSWER_MARK) :].strip() if last.startswith(ANSWER_MARK) else None


def make_problems(
    kinds: Sequence[str],
    *,
    num_documents: int,
    num_prompts: int,
    num_heldout: int,
    worked_share: float = 0.4,
    wrong_share: float = 0.5,
    seed: int = 0,
) -> Problems:
    """Draw problems of each kind in equal numbers and write the documents.

    `worked_share` is the part of the documents that work the problem out, `wrong_share` the part
    of the other (blurted) ones whose answer is wrong. Which set a question belongs to follows
    from its hash, so the sets share none however few questions a generator has. A kind with too
    few questions answers some of them in more than one document and leaves prompt sets short;
    `counts` says so. Raises `AlignError` for an unknown kind or a share outside [0, 1].
    """
    _check(kinds, worked_share, wrong_share)
    wanted = {"documents": num_documents, "prompts": num_prompts, "heldout": num_heldout}
    counts: Counter[str] = Counter()
    sets: dict[str, list[Row]] = {name: [] for name in wanted}
    rng = random.Random(seed)
    for place, name in enumerate(kinds):
        # the first kinds take one more where the numbers do not divide
        quota = {s: (n + len(kinds) - 1 - place) // len(kinds) for s, n in wanted.items()}
        questions = _draw(name, quota, seed, counts)
        for item in _again(questions["documents"], quota["documents"], name, counts):
            sets["documents"].append(_document(name, item, worked_share, wrong_share, rng))
        for split in ("prompts", "heldout"):
            sets[split] += [_prompt(name, item) for item in questions[split]]
    for rows in sets.values():
        rng.shuffle(rows)
    return Problems(**sets, counts=dict(counts))


def worked_answer(name: str, item: Row) -> str:
    """The worked solution of one item of a kind, ending in its `####` line."""
    return "\n".join([*KINDS[name].work(item), ANSWER_MARK + item["answer"]])


def wrong_answer(name: str, item: Row, rng: random.Random) -> str:
    """A blurted answer of one item of a kind that is not the right one."""
    return ANSWER_MARK + KINDS[name].blunder(item, rng)


def _check(kinds: Sequence[str], worked_share: float, wrong_share: float) -> None:
    for name in kinds:
        if name not in KINDS:
            raise AlignError(f"unknown kind of problems {name!r}; known: {', '.join(KINDS)}")
    if not kinds or len(set(kinds)) != len(kinds):
        raise AlignError(f"kinds must be one or more different names, got {list(kinds)}")
    for label, share in (("worked_share", worked_share), ("wrong_share", wrong_share)):
        if not 0 <= share <= 1:
            raise AlignError(f"{label} is a share between 0 and 1, got {share}")


def _draw(
    name: str, quota: dict[str, int], seed: int, counts: Counter[str]
) -> dict[str, list[Row]]:
    """Distinct questions for each split until all are full or the generator is exhausted."""
    start = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4], "big")
    dataset = reasoning_gym.create_dataset(name, size=1, seed=start, **KINDS[name].config)
    found: dict[str, list[Row]] = {split: [] for split in quota}
    seen: set[str] = set()
    index = fruitless = 0
    while fruitless < FRUITLESS_DRAWS and any(len(found[s]) < quota[s] for s in quota):
        item = dataset[index]
        index += 1
        fruitless += 1
        split = _split_of(item["question"])
        if item["question"] in seen:
            counts["duplicate question"] += 1
        elif len(found[split]) == quota[split]:
            counts[f"not needed for {split}"] += 1
        else:
            found[split].append(item)
            fruitless = 0
        seen.add(item["question"])
    for split in ("prompts", "heldout"):
        if missing := quota[split] - len(found[split]):
            counts[f"{name}: too few questions for {split}"] = missing
    return found


def _split_of(question: str) -> str:
    share = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big") / 2**32
    return "heldout" if share < 0.1 else "prompts" if share < 0.3 else "documents"


def _again(items: list[Row], number: int, name: str, counts: Counter[str]) -> list[Row]:
    if len(items) < number:
        counts[f"{name}: documents on a question already used"] = number - len(items)
    return [items[place % len(items)] for place in range(number)] if items else []


def _document(
    name: str, item: Row, worked_share: float, wrong_share: float, rng: random.Random
) -> Row:
    if rng.random() < worked_share:
        source, answer = "worked", worked_answer(name, item)
    elif rng.random() < wrong_share:
        source, answer = "blurted wrong", wrong_answer(name, item, rng)
    else:
        source, answer = "blurted right", ANSWER_MARK + item["answer"]
    messages = [
        {"role": "user", "content": item["question"]},
        {"role": "assistant", "content": answer},
    ]
    return {"source": f"{name}, {source}", "text": None, "messages": messages}


def _prompt(name: str, item: Row) -> Row:
    prompt = [{"role": "user", "content": item["question"]}]
    return {
        "id": hashlib.sha256(json.dumps(prompt).encode()).hexdigest()[:16],
        "prompt": prompt,
        "answer": item["answer"],
        "solution": worked_answer(name, item),
        "task": name,
        "entry": json.dumps(item),
    }
