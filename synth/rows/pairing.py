"""Which right answer is set against which wrong one."""

import hashlib
import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def pairs(
    rights: Sequence[T], wrongs: Sequence[T], limit: int, key: str, *, ordered: bool = False
) -> list[tuple[T, T]]:
    """At most `limit` distinct pairs (right, wrong), spread over as many of both as can be.

    ordered: the first of `rights` are paired first. Else the choice follows from `key` alone, so a
    prompt's pairs do not depend on what else is in the batch. No answer is used a second time on
    its side before all are used once.
    """
    rng = random.Random(hashlib.sha256(key.encode()).digest())
    shuffled = rng.sample(rights, len(rights))
    rights, wrongs = rights if ordered else shuffled, rng.sample(wrongs, len(wrongs))
    if not rights or not wrongs:
        return []
    # Both sides go round in step; after a full cycle one shifts by one, so no pair comes twice.
    cycle = math.lcm(len(rights), len(wrongs))
    return [
        (rights[i % len(rights)], wrongs[(i + i // cycle) % len(wrongs)])
        for i in range(min(limit, len(rights) * len(wrongs)))
    ]
