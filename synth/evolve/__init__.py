"""Instructions that grow harder by steps: Evol-Instruct (arXiv 2304.12244), and Tree-Instruct
(2308.05696), which adds nodes to an instruction's semantic tree.

Qwen2 (2407.10671 §4.1) calls it self-evolution: more constraints, so instructions of several levels
of difficulty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from synth.evolve import moves, rules, trees
from synth.evolve.instruction import instruction, renew
from synth.flow.item import Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.rows.messages import assistant
from synth.synthesis import SynthesisError
from verifiers.code.programs import answer_of
from verifiers.suggest import did_you_mean

METHOD = "evolve"
VERSION = 1
SOURCES = ("prompts",)
OUTPUTS = ("sft", "prompts")
NEEDS = ("prompt",)

GAIN_SCHEMA = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "equal": {"type": "boolean"}},
    "required": ["reason", "equal"],
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of the evolution of instructions."""

    output: Literal["sft", "prompts"] = "sft"
    """prompts leaves the responses out. They are sampled all the same, as two of the four rules of
    elimination look at them."""
    style: Literal["evol", "tree"] = "evol"
    """Evol-Instruct or Tree-Instruct."""
    rounds: int = 4
    """evol: times that an instruction is evolved, each time what the round before left (4)."""
    moves: Sequence[str] = moves.MOVES
    """evol: the moves that each round draws one of (2304.12244 §3.1)."""
    nodes: int = 10
    """tree: nodes that are added; 2308.05696 studies 3, 6 and 10, and finds 10 best."""
    min_kept_nodes: float = 0.9
    """tree: share of the old nodes that the new tree must have."""
    min_mentioned: float = 0.5
    """tree: share of a tree's nodes whose words must stand in the instruction that it is of. Ours:
    else the tree may grow without the instruction."""
    judge: Any = None
    """Says whether an evolved instruction asks for anything new; the model itself by default."""
    sorry_words: int = 80
    """A response with "sorry" in it and fewer words than this eliminates its instruction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(rounds=1, nodes=1, min_kept_nodes=0.0, min_mentioned=0.0, sorry_words=0)
        for name in ("min_kept_nodes", "min_mentioned"):
            if getattr(self, name) > 1:
                raise SynthesisError(f"{name} is {getattr(self, name)}; give a share of at most 1")
        if isinstance(self.moves, str) or not self.moves:
            raise SynthesisError(
                f"moves is {self.moves!r}; give a list of some of {', '.join(moves.MOVES)}"
            )
        for move in self.moves:
            if move not in moves.MOVES:
                raise SynthesisError(
                    f"moves: there is no '{move}'{did_you_mean(str(move), moves.MOVES)}"
                )


def make(window: Window, settings: Settings) -> None:
    """A row for each evolved instruction that is not eliminated: `{prompt}`, with its `completion`
    under `sft`, and the other columns of its prompt but those that held for that alone.

    Besides: `moves`, all that led to it, or `nodes_before` and `nodes` of its trees. An eliminated
    one leaves what it was made of to the next round.
    """
    latest = {item.id: item for item in window.items if _has_instruction(window, item)}
    tried: dict[str, set[str]] = {}
    for _ in range(settings.rounds if settings.style == "evol" else 1):
        items = list(latest.values())
        if settings.style == "evol":
            evolved = moves.rewritten(window, settings.seed, settings.moves, items, tried)
        else:
            evolved = trees.rewritten(window, settings, items)
        for response in _answered(window, settings, _different(window, settings, evolved)):
            item = response.parent
            _tally(window, latest[item.source.id], item)
            latest[item.source.id] = item
            columns = dict(item.columns)
            if settings.output == "sft":
                columns["completion"] = assistant(response.text)
            window.keep(columns, response)


def _tally(window: Window, before: Item, after: Item) -> None:
    window.tally("kept")
    window.tally("words_before", rules.num_words(instruction(before)))
    window.tally("words", rules.num_words(instruction(after)))
    if "moves" in after.columns:
        window.tally(f"kept/{after.columns['moves'][-1]}")


def _has_instruction(window: Window, item: Item) -> bool:
    """Whether the prompt is one user message, perhaps under a system message."""
    roles = [message["role"] for message in item.columns["prompt"] if message["role"] != "system"]
    if roles != ["user"] or item.columns["prompt"][-1]["role"] != "user":
        window.reject(item, "prompt:dialogue", "only single questions are evolved")
    elif not instruction(item).strip():
        window.reject(item, "prompt:empty")
    else:
        return True
    return False


def _different(window: Window, settings: Settings, evolved: Sequence[Item]) -> list[Item]:
    """Those that ask for something new (rule 1), in words of their own (rule 4)."""
    step = "evolve" if settings.style == "evol" else "linearise"
    different = []
    for item in evolved:
        copied = rules.copied(item.text, instruction(item))
        if copied:
            window.reject(item, f"{step}:copied_words", copied)
        elif item.text.split() == instruction(item).split():
            window.reject(item, f"{step}:unchanged")
        else:
            different.append(item)
    asked = window.prompts.get("gain")
    gaining = []
    for item, (found,) in window.judge(
        "gain",
        different,
        lambda item: asked.fill({"before": instruction(item), "after": item.text}),
        schema=GAIN_SCHEMA,
        engine=settings.judge,
    ):
        if found["equal"]:
            window.reject(item, "gain:none", found["reason"])
        else:
            gaining.append(item)
    return gaining


def _answered(window: Window, settings: Settings, evolved: Sequence[Item]) -> list[Item]:
    """Responses that are some (rules 2 and 3), to instructions that have become their prompts."""
    for item in evolved:
        renew(item)
    groups = window.generate("respond", evolved, lambda item: item.columns["prompt"])
    answered = []
    for response in (response for group in groups for response in group):
        said = answer_of(response.text)
        if rules.is_sorry(said, settings.sorry_words):
            window.reject(response, "respond:sorry")
        elif rules.says_nothing(said):
            window.reject(response, "respond:no_content")
        else:
            answered.append(response)
    return answered


def metrics(tallies: Mapping[str, int], settings: Settings) -> dict[str, float]:
    """`kept/<move>`: share of the move's tries that were not eliminated. `words` of a kept
    instruction, and `words_before` of the one that it was made of, on average."""
    found = {}
    for name, number in sorted(tallies.items()):
        if name.startswith("asked/"):
            kept = name.replace("asked/", "kept/")
            found[kept] = tallies.get(kept, 0) / number
    for name in ("words_before", "words") if tallies.get("kept") else ():
        found[name] = tallies[name] / tallies["kept"]
    return found
