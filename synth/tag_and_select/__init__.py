"""Tags for every query, and a selection by them (InsTag, arXiv 2308.07074).

Qwen2 (2407.10671 §4.1) selects by diversity of tags, semantic richness, complexity and completeness
of intent; how it weighs them is not published.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from synth.flow.item import Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.rows.messages import last_user
from synth.synthesis import Row, SynthesisError
from synth.tag_and_select.tags import Tagged, normalised

METHOD = "tag_and_select"
VERSION = 1
SOURCES = ("prompts", "data")
OUTPUTS = ("prompts", "sft")
NEEDS = ("prompt",)

_RATING = {"type": "integer", "minimum": 1, "maximum": 5}
_TAG = {
    "type": "object",
    "properties": {
        "tag": {"type": "string", "minLength": 1, "maxLength": 60},
        "explanation": {"type": "string"},
    },
    "required": ["tag", "explanation"],
}
TAGS_SCHEMA = {
    "type": "object",
    "properties": {"tags": {"type": "array", "minItems": 1, "maxItems": 40, "items": _TAG}},
    "required": ["tags"],
}
RATING_SCHEMA = {
    "type": "object",
    "properties": {"richness": _RATING, "completeness": _RATING},
    "required": ["richness", "completeness"],
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of tagging and selection; section numbers are InsTag's."""

    output: Literal["prompts", "sft"] = "prompts"
    """sft passes the rows of a data set through, prompts their prompts."""
    select_rows: int | None = None
    """How many rows to select; None keeps all that have a tag."""
    order: Literal["complexity", "qwen2"] = "complexity"
    """What is taken first: the most tags (§4.1), or the highest sum of tags, richness and
    completeness, each as a share of its greatest value."""
    judge: Any = None
    """Rates richness and completeness under `qwen2`; the tagging model by default."""
    min_count: int | None = None
    """Tags seen less often go (§3.2: 20 among 306,044 queries); None keeps that proportion."""
    embedder: Any = None
    """Merges tags of like meaning; without one only their spelling is compared."""
    eps: float = 0.05
    """Tags nearer than this in cosine distance are one (§3.2: DBSCAN)."""
    association_support: int = 40
    """Queries that must have two tags before one may stand for both (§3.2)."""
    association_confidence: float = 0.99
    """Share of a tag's queries that have the other too, for it to be merged into that (§3.2)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(select_rows=1, min_count=1, eps=0.0, association_support=1)
        if not 0 < self.association_confidence <= 1:
            raise SynthesisError(
                f"association_confidence is {self.association_confidence}; give more than 0 and at "
                "most 1"
            )


def make(window: Window, settings: Settings) -> None:
    """Each row with its tags; `select` then looks at all of them."""
    asked = window.prompts.get("tag")
    items = [item for item in window.items if _has_query(window, item, settings)]
    tagged = window.judge(
        "tag", items, lambda item: asked.fill({"query": _query(item)}), schema=TAGS_SCHEMA
    )
    found = {item.id: [tag["tag"] for tag in value["tags"]] for item, (value,) in tagged}
    items = [item for item, _ in tagged]
    ratings: dict[str, dict[str, int]] = {}
    if settings.order == "qwen2":
        rated = _rated(window, items, settings)
        ratings = {item.id: value for item, (value,) in rated}
        items = [item for item, _ in rated]
    for item in items:
        columns = dict(item.columns)
        if settings.output == "prompts":
            columns.pop("completion", None)
        window.keep({**columns, **ratings.get(item.id, {}), "tags": found[item.id]}, item)


def _rated(window: Window, items: Sequence[Item], settings: Settings) -> list[tuple[Item, Any]]:
    asked = window.prompts.get("rate")
    return window.judge(
        "rate",
        items,
        lambda item: asked.fill({"query": _query(item)}),
        schema=RATING_SCHEMA,
        engine=settings.judge,
    )


def _query(item: Item) -> str:
    return last_user(item.columns["prompt"])


def _has_query(window: Window, item: Item, settings: Settings) -> bool:
    if settings.output == "sft" and not item.columns.get("completion"):
        window.reject(item, "query:no_completion", "output is sft, and the row has none")
    elif not _query(item).strip():
        window.reject(item, "query:empty")
    else:
        return True
    return False


@dataclass(frozen=True)
class Selection:
    """Which rows stay, and their normalised tags. Rows go by their number."""

    metrics: dict[str, float]
    tagged: Tagged
    taken: frozenset[int]

    def dropped(self, number: int) -> str | None:
        """Why a row goes: `select:no_tags` (all its tags were too rare) or `select:not_taken`."""
        if not len(self.tagged.ids(number)):
            return "select:no_tags"
        return None if number in self.taken else "select:not_taken"

    def columns(self, number: int) -> Mapping[str, Any]:
        return {"tags": self.tagged.tags(number)}


def select(read: Callable[[], Iterator[Row]], settings: Settings) -> Selection:
    """Normalise the tags of all rows, and take rows by them."""
    tagged, metrics = normalised(read, settings)
    order = _order(read, tagged, settings)
    wanted = tagged.num_rows if settings.select_rows is None else settings.select_rows
    taken = diverse([tagged.ids(number) for number in order], wanted)
    chosen = frozenset(order[place] for place in taken)
    inventory = len({tag for number in order for tag in tagged.ids(number)}) or 1
    covered = len({tag for number in chosen for tag in tagged.ids(number)})
    metrics |= {
        "diversity": covered / inventory,
        "complexity_before": _mean([len(tagged.ids(n)) for n in range(tagged.num_rows)]),
        "complexity": _mean([len(tagged.ids(number)) for number in chosen]),
    }
    return Selection(metrics, tagged, chosen)


def _order(read: Callable[[], Iterator[Row]], tagged: Tagged, settings: Settings) -> list[int]:
    """Row numbers, best first; rows without tags are left out, ties stay in the rows' order."""
    scores = [float(len(tagged.ids(number))) for number in range(tagged.num_rows)]
    if settings.order == "qwen2":
        most = max(scores, default=0.0) or 1.0
        for number, row in enumerate(read()):
            scores[number] = scores[number] / most + row["richness"] / 5 + row["completeness"] / 5
    numbers = [number for number in range(tagged.num_rows) if len(tagged.ids(number))]
    return sorted(numbers, key=lambda number: -scores[number])


def diverse(queries: Sequence[Sequence[int]], number: int) -> list[int]:
    """Complexity-first diverse sampling (§4.1): places of at most `number` queries, as taken.

    queries: the tags of each, best query first. A query is taken if it adds a tag that this pass
    has not seen; when no more does, the next pass goes through those that are left.
    """
    taken: list[int] = []
    left = list(range(len(queries)))
    while left and len(taken) < number:
        seen: set[int] = set()
        passed_over: list[int] = []
        for place in left:
            if len(taken) < number and not seen.issuperset(queries[place]):
                seen.update(queries[place])
                taken.append(place)
            else:
                passed_over.append(place)
        if len(passed_over) == len(left):
            break  # only queries without a tag are left
        left = passed_over
    return taken


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0
