"""A judge compares two responses by a principle, in both orders (RL-CAI, §4)."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from synth.constitutional.constitution import Principle, drawn
from synth.flow.item import Answer, Item
from synth.flow.window import Window
from synth.rows.messages import as_text, assistant, said

VOTE_SCHEMA = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "better": {"enum": ["A", "B"]}},
    "required": ["reasoning", "better"],
    "additionalProperties": False,
}
# The letter with whatever stands around it: " A", "(B", "**A".
_LETTER = re.compile(r"[\W_]*([AB])[\W_]*")
_LEAST_MASS = 0.1  # of A and B together; below that the judge was about to say something else


def keep_pairs(window: Window, settings: Any) -> None:
    """Rows of two samples each, with the probability that the chosen one is better."""
    pairs = _sampled(window, settings)
    of = {pair.id: (other, principle) for pair, other, principle in pairs}
    compared = {pair.id: pair for pair, _, _ in pairs}
    firsts: dict[str, list[float]] = {}
    for swapped, step in ((False, "compare"), (True, "compare_swapped")):
        judged = _judged(window, settings, step, list(compared.values()), of, swapped)
        compared = {pair.id: pair for pair, _ in judged}
        for pair, probability in judged:
            firsts.setdefault(pair.id, []).append(probability)
    for pair, other, principle in pairs:
        if pair.id in compared:
            shown_first, shown_second = firsts[pair.id]
            _tally(window, shown_first, shown_second)
            probability = (shown_first + 1 - shown_second) / 2
            _keep(window, settings, pair, other, principle, probability)
        else:
            window.reject(other, "unpaired", "its comparison is undecided")


def first_is_better(answer: Answer) -> float:
    """P(A) / (P(A) + P(B)) from the log-probabilities of the first token.

    Raises ValueError where these two letters are not what the judge was about to say.
    """
    mass = {"A": 0.0, "B": 0.0}
    for token, logp in answer.first_logps.items():
        letter = _LETTER.fullmatch(token)
        if letter:
            mass[letter[1]] += math.exp(logp)
    total = mass["A"] + mass["B"]
    if total < _LEAST_MASS:
        raise ValueError(f"the letters A and B have {total:.1%} of the first token's probability")
    return mass["A"] / total


def soft_label(probability: float, clamp: float | None, min_margin: float) -> float | None:
    """The probability no farther from 0.5 than `clamp` allows; None if it is just that, or nearer
    than `min_margin`."""
    if probability == 0.5 or abs(probability - 0.5) < min_margin:
        return None
    return probability if clamp is None else min(max(probability, 1 - clamp), clamp)


def _sampled(window: Window, settings: Any) -> list[tuple[Item, Item, Principle]]:
    """Two by two the distinct samples of each prompt: the first as an item for the pair, the
    second, and the principle that they are compared by."""
    groups = window.generate(
        "sample",
        window.items,
        lambda item: item.columns["prompt"],
        n=settings.samples,
        parse=said,
    )
    pairs = []
    for group in groups:
        distinct: dict[str, Item] = {}
        for sample in group:
            sample.text = sample.value
            if distinct.setdefault(" ".join(sample.text.split()), sample) is not sample:
                window.reject(sample, "sample:duplicate")
        one_by_one = list(distinct.values())
        if len(one_by_one) % 2:
            window.reject(one_by_one.pop(), "unpaired", "there is no other to compare it with")
        for place in range(0, len(one_by_one), 2):
            first, second = one_by_one[place : place + 2]
            order = drawn(settings.principles, f"{settings.seed}:{first.source.id}")
            principle = order[place // 2 % len(order)]
            (pair,) = window.expand("pair", first, [{"principle": principle.name}])
            pairs.append((pair, second, principle))
    return pairs


def _judged(
    window: Window,
    settings: Any,
    step: str,
    pairs: Sequence[Item],
    of: Mapping[str, tuple[Item, Principle]],
    swapped: bool,
) -> list[tuple[Item, float]]:
    """Each pair with the probability that the response shown first is the better one."""
    asked = window.prompts.get("compare" if settings.votes is None else "vote")

    def question(pair: Item) -> list[dict[str, str]]:
        other, principle = of[pair.id]
        first, second = (other, pair) if swapped else (pair, other)
        dialogue = as_text(pair.source.columns["prompt"])
        return asked.fill(
            {"dialogue": dialogue, "rule": principle.rule}, a=first.text, b=second.text
        )

    if settings.votes is None:
        judged = window.judge(
            step,
            pairs,
            question,
            parse=first_is_better,
            engine=settings.judge,
            top_logprobs=settings.top_logprobs,
        )
        return [(pair, probability) for pair, (probability,) in judged]
    judged = window.judge(
        step, pairs, question, schema=VOTE_SCHEMA, n=settings.votes, engine=settings.judge
    )
    return [
        (pair, sum(vote["better"] == "A" for vote in votes) / len(votes)) for pair, votes in judged
    ]


def _tally(window: Window, shown_first: float, shown_second: float) -> None:
    window.tally("compared")
    window.tally("first_preferred", (shown_first > 0.5) + (shown_second > 0.5))
    window.tally("orders_disagree", (shown_first > 0.5) != (1 - shown_second > 0.5))


def _keep(
    window: Window,
    settings: Any,
    pair: Item,
    other: Item,
    principle: Principle,
    probability: float,
) -> None:
    label = soft_label(probability, settings.clamp, settings.min_margin)
    if label is None:
        window.reject(pair, "compare:too_close", f"probability {probability:.3f}")
        window.reject(other, "compare:too_close", f"probability {1 - probability:.3f}")
        return
    chosen, rejected = (pair, other) if label > 0.5 else (other, pair)
    row = {
        **pair.columns,
        "chosen": assistant(chosen.text),
        "rejected": assistant(rejected.text),
        "probability": round(max(label, 1 - label), 4),
    }
    window.keep(row, chosen=chosen, rejected=rejected)
