"""The moves of Evol-Instruct (arXiv 2304.12244): in depth, and in breadth."""

import hashlib
from collections.abc import Iterable, Sequence

from synth.evolve.instruction import instruction, read
from synth.flow.item import Item
from synth.flow.window import Window

DEPTH = ("constrain", "deepen", "concretise", "reason", "complicate")
BREADTH = ("mutate",)
MOVES = (*DEPTH, *BREADTH)


def drawn(key: str, moves: Iterable[str]) -> str:
    """One of the moves, each as likely, as follows from the key alone."""

    def lot(move: str) -> bytes:
        return hashlib.blake2b(f"{key}:{move}".encode(), digest_size=8).digest()

    return min(moves, key=lot)


def rewritten(
    window: Window, seed: int, moves: Sequence[str], items: Sequence[Item], tried: dict[str, set]
) -> list[Item]:
    """Each item's instruction rewritten by one move, as `text`; `moves` are those so far.

    tried: the moves that an item, by its id, has been through; the one drawn is added. An item that
    has been through all is left out, as the same question has the same answer.
    """
    moved = []
    for item in items:
        done = tried.setdefault(item.id, set())
        if left := [move for move in moves if move not in done]:
            move = drawn(f"{seed}:{item.id}:{len(done)}", left)
            done.add(move)
            so_far = [*item.columns.get("moves", ()), move]
            moved += window.expand(move, item, [{"move": move, "moves": so_far}])
            window.tally(f"asked/{move}")
    prompts = {move: window.prompts.get(move) for move in moves}
    groups = window.generate(
        "evolve",
        moved,
        lambda item: prompts[item.columns["move"]].fill({"prompt": instruction(item)}),
        parse=read,
    )
    children = [child for group in groups for child in group]
    for child in children:
        child.text = child.value
    return children
