"""From a good text to the request that it answers.

Humpback (arXiv 2308.06259) writes an instruction for a web text and lets the model itself score the
pairs. Qwen2 (2407.10671 §4.2) so makes requests of several levels of detail for literary works, and
Qwen2.5 (2412.15115 §4.1) queries with a length for long texts, so that answers of 8,000 tokens are
learnt. The text is the answer; only the query is the model's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from synth.flow.item import Answer, Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.rows.messages import assistant, said, user
from synth.synthesis import SynthesisError
from synth.text.documents import cut_to, overlap_words, problem_of
from synth.text.words import words_of

METHOD = "back_translation"
VERSION = 1
SOURCES = ("corpus",)
OUTPUTS = ("sft",)
NEEDS = ()

DETAILS = ("brief", "medium", "detailed")
_SCORE = re.compile(
    r"^[ \t*]*(?:Score|\u5206\u6570)[ \t*]*[:\uff1a][ \t*]*([1-5])(?:[ \t]*/[ \t]*5)?[ \t*.]*$",
    re.MULTILINE | re.IGNORECASE,
)
# Speaks of a text that is there already. "This text" alone may be the one that is wanted.
_KINDS = r"(?:text|passage|excerpt|article|document)"
_NAMES_TEXT = re.compile(
    rf"\b(?:above|given|provided) {_KINDS}\b|\b{_KINDS} above\b|\bthis (?:passage|excerpt)\b"
    rf"|\b(?:based on|according to) (?:the|this) {_KINDS}\b"
    r"|上文|以上(?:文字|文章|内容)|这段(?:文字|文本|话)|(?:根据|按照)(?:原文|这篇)",
    re.IGNORECASE,
)
_QUOTED = (('"', '"'), ("'", "'"), ("\u201c", "\u201d"))


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of back-translation."""

    details: list[str] = field(default_factory=lambda: list(DETAILS))
    """Levels of detail; a query is asked for each."""
    samples: int = 1
    """Queries for each level; the one that is scored highest is kept."""
    min_characters: int = 600
    """Shorter texts are rejected (Humpback's segments have 600 to 3,000 characters)."""
    max_characters: int = 40_000
    """Longer texts are rejected, or cut."""
    too_long: Literal["reject", "cut"] = "reject"
    """cut: at the last end of a paragraph, else of a sentence, before `max_characters`."""
    length: bool = True
    """Whether the query asks for a length, the text's own in round numbers (Qwen2.5)."""
    judge: Any = None
    """Scores the pairs; the model itself by default, as in Humpback's self-curation."""
    scores: int = 3
    """Scores drawn for each pair; their mean counts."""
    min_score: float = 4.5
    """Pairs below go: Humpback's A5 takes 4.5 and above, A4 takes 4 and above."""
    max_copied: int = 12
    """Longest run of words that a query may share with the text; more gives the answer away."""
    system: str | None = None
    """A system prompt for the rows, as Humpback tells web data from seed data (§2.3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(samples=1, min_characters=1, max_characters=1, scores=1, max_copied=1)
        self.at_least(min_score=1.0)
        if self.min_score > 5:
            raise SynthesisError(f"min_score is {self.min_score}; give at most 5")
        wrong = [name for name in self.details if name not in DETAILS]
        if wrong or not self.details or len(set(self.details)) < len(self.details):
            raise SynthesisError(
                f"details is {self.details}; give some of {', '.join(DETAILS)}, each once"
            )
        if self.min_characters > self.max_characters:
            raise SynthesisError(
                f"min_characters {self.min_characters} is above max_characters "
                f"{self.max_characters}"
            )


def make(window: Window, settings: Settings) -> None:
    """Rows `{prompt, completion, detail, score}`; at most one for each text and level of detail."""
    texts = [item for item in window.items if _is_usable(window, item, settings)]
    wanted = [
        child
        for item in texts
        for child in window.expand("detail", item, [{"detail": name} for name in settings.details])
    ]
    queries = [
        child
        for group in _queries(window, wanted, settings)
        for child in group
        if _is_fair(window, child, settings)
    ]
    best: dict[str, Item] = {}
    for query, score in _scored(window, queries, settings):
        query.columns = {**query.columns, "score": round(score, 3)}
        rival = best.get(query.parent.id)
        if rival is None or score > rival.columns["score"]:
            best[query.parent.id] = query
    for query in best.values():
        columns = {k: v for k, v in query.columns.items() if k not in ("text", "id")}
        system = [{"role": "system", "content": settings.system}] if settings.system else []
        prompt = [*system, *user(query.value)]
        window.keep({**columns, "prompt": prompt, "completion": assistant(_text(query))}, query)
    for query in queries:
        if not query.settled:
            window.reject(query, "curate:not_the_best")


def _text(item: Item) -> str:
    return item.columns["text"]


def _is_usable(window: Window, item: Item, settings: Settings) -> bool:
    """Whether the document is a text of the right length; rejected as `text:<what it is>`."""
    text = item.columns.get("text")
    problem = problem_of(text)
    if problem is None and len(text) > settings.max_characters and settings.too_long == "cut":
        text = cut_to(text, settings.max_characters)
        item.columns = {**item.columns, "text": text}
    if problem is None and len(text) > settings.max_characters:
        problem = "too_long"
    if problem is None and len(text.strip()) < settings.min_characters:
        problem = "too_short"
    if problem is not None:
        window.reject(item, f"text:{problem}", f"{len(text or '')} characters")
        return False
    item.columns = {**item.columns, "text": text.strip()}
    return True


def _queries(window: Window, items: Sequence[Item], settings: Settings) -> list[list[Item]]:
    asked, length = window.prompts.get("query"), window.prompts.get("length")

    def question(item: Item) -> list[dict[str, str]]:
        told = ""
        if settings.length:
            told = length.fill({"words": round_number(len(words_of(_text(item))))})[0]["content"]
        return asked.fill({"text": _text(item), "detail": item.columns["detail"], "length": told})

    return window.generate("query", items, question, n=settings.samples, parse=_query)


def _query(answer: Answer) -> str:
    """The request, without quotation marks around the whole of it."""
    text = said(answer)
    for opening, closing in _QUOTED:
        inside = text[1:-1]
        whole = text.startswith(opening) and text.endswith(closing) and len(text) > 1
        if whole and opening not in inside and closing not in inside:
            text = inside.strip()
    if not words_of(text):
        raise ValueError("it is empty")
    return text


def _is_fair(window: Window, query: Item, settings: Settings) -> bool:
    """Whether the query stands by itself, does not give the answer away, and names the length."""
    copied = overlap_words(query.value, _text(query))
    if copied > settings.max_copied:
        window.reject(query, "query:copies", f"{copied} words in a row are the text's")
    elif names_text(query.value):
        window.reject(query, "query:names_text", "it speaks of a text that nobody has seen")
    elif len(query.value) > len(_text(query)):
        window.reject(query, "query:longer_than_text", f"{len(query.value)} characters")
    elif settings.length and not names_length(query.value, len(words_of(_text(query)))):
        window.reject(query, "query:no_length", "it does not ask for the length")
    else:
        return True
    return False


def _scored(
    window: Window, queries: Sequence[Item], settings: Settings
) -> list[tuple[Item, float]]:
    """Queries whose mean score is high enough."""
    asked = window.prompts.get("curate")
    judged = window.judge(
        "curate",
        queries,
        lambda item: asked.fill({"query": item.value, "text": _text(item)}),
        parse=score_of,
        n=settings.scores,
        engine=settings.judge,
    )
    kept = []
    for query, scores in judged:
        mean = sum(scores) / len(scores)
        if mean < settings.min_score:
            window.reject(query, "curate:low_score", f"{mean:.2f} of 5")
        else:
            kept.append((query, mean))
    return kept


def score_of(answer: Answer) -> int:
    """The whole number from 1 to 5 on the only line that gives a score."""
    found = _SCORE.findall(said(answer))
    if len(found) != 1:
        raise ValueError(f"there are {len(found)} lines as 'Score: 4', and there should be one")
    return int(found[0])


def round_number(number: int) -> int:
    """To one or two leading digits, as a person would ask: 187 is 200, 1,234 is 1,200."""
    step = 10 ** max(0, len(str(number)) - 2)
    step = step * 5 if number < 1000 else step
    return max(10, round(number / step) * step)


def names_text(query: str) -> bool:
    """Whether it speaks of the text as of something that lies before the reader."""
    return _NAMES_TEXT.search(query) is not None


def names_length(query: str, number: int) -> bool:
    """Whether a number in the query is within a quarter of `number`."""
    found = [int(digits.replace(",", "")) for digits in re.findall(r"\d[\d,]{0,9}", query)]
    return any(0.75 * number <= value <= 1.25 * number for value in found)
