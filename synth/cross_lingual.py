"""What a model knows in one language, for others: cross-lingual transfer (2412.15115 §4.1).

The instruction is translated, candidate answers are made in the target language, and both are kept
only if they say the same as the originals: by an embedding model, or by translating them back.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from synth.flow.item import Item
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.rows.messages import assistant, last_user
from synth.synthesis import SynthesisError
from synth.text.languages import NAMES, is_in
from verifiers.suggest import did_you_mean

METHOD = "cross_lingual"
VERSION = 1
SOURCES = ("data",)
OUTPUTS = ("sft",)
NEEDS = ("prompt", "completion")

SAME_SCHEMA = {
    "type": "object",
    "properties": {"difference": {"type": "string"}, "same": {"type": "boolean"}},
    "required": ["difference", "same"],
    "additionalProperties": False,
}
# What a translation must leave alone: code, URLs, placeholders, numbers.
_PARTS = re.compile(r"```.*?```|`[^`\n]+`|https?://[^\s)>\]]+|\{[A-Za-z_]\w*\}|\d+", re.DOTALL)
_MAX_COMPARED = 20_000


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of cross-lingual transfer. The report publishes no thresholds; these are ours."""

    languages: list[str]
    """Target languages, by ISO 639-1 code; each row is made in each of them."""
    source_language: str = "en"
    answers: Literal["translated", "fresh"] = "translated"
    """Candidate answers: translations of the row's answer, or the model's own to the translated
    instruction, which must then say the same."""
    samples: int = 2
    """Candidate answers; the one nearest to the original is kept."""
    alignment: Literal["back_translation", "embedding"] = "back_translation"
    embedder: Any = None
    """For `embedding`: a multilingual model with `embed`."""
    min_cosine: float = 0.8
    """`embedding`: least cosine similarity to the original."""
    min_chrf: float = 0.35
    """`back_translation`: least chrF (character n-gram F-score, 0 to 1) to the original; what
    reaches it is then compared by the judge."""
    judge: Any = None
    """Compares original and back-translation; the model itself by default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(samples=1, min_cosine=-1.0, min_chrf=0.0)
        for code in (*self.languages, self.source_language):
            if code not in NAMES:
                raise SynthesisError(f"language '{code}' is unknown{did_you_mean(code, NAMES)}")
        if not self.languages or self.source_language in self.languages:
            raise SynthesisError(
                f"languages is {self.languages}; give some other than the rows' own, "
                f"'{self.source_language}'"
            )
        if self.alignment == "embedding" and self.embedder is None:
            raise SynthesisError("alignment is 'embedding'; name the model as `embedder`")


def make(window: Window, settings: Settings) -> None:
    """Rows `{prompt, completion, language, similarity}` in the target languages."""
    asked = [
        child
        for item in window.items
        for child in window.expand(
            "language", item, [{"language": code, "prompt": []} for code in settings.languages]
        )
    ]
    prompts = _translated_prompts(window, asked)
    prompts = _right_language(window, prompts, "translate")
    prompts = _same_parts(
        window, prompts, lambda item: _texts(_source(item)["prompt"]), "translate"
    )
    prompts = _aligned(
        window, settings, prompts, "prompt", lambda item: _texts(_source(item)["prompt"])
    )
    answers = _answers(window, settings, prompts)
    for prompt, answer in _best(prompts, answers):
        window.keep(
            {
                **{k: v for k, v in _source(answer).items() if k not in ("prompt", "completion")},
                "prompt": prompt.columns["prompt"],
                "completion": assistant(answer.text),
                "language": prompt.columns["language"],
                "similarity": answer.columns["similarity"],
            },
            answer,
        )
    for answer in answers:
        if not answer.settled:
            window.reject(answer, "answer:not_the_best")


def _source(item: Item) -> dict[str, Any]:
    return item.source.columns


def _texts(messages: Sequence[dict[str, str]]) -> str:
    return "\n\n".join(message["content"] for message in messages)


def _name(item: Item) -> str:
    return NAMES[item.columns["language"]]


def _translated_prompts(window: Window, items: Sequence[Item]) -> list[Item]:
    """Each item as a child whose `prompt` is translated, message by message."""
    asked = window.prompts.get("translate")
    current = {item.id: item for item in items}  # of each item, how far its translation has come
    for turn in range(max((len(_source(item)["prompt"]) for item in items), default=0)):
        due = [key for key, item in current.items() if turn < len(_source(item)["prompt"])]

        def question(item: Item, turn: int = turn) -> list[dict[str, str]]:
            message = _source(item)["prompt"][turn]
            return asked.fill(
                {"role": message["role"], "language": _name(item), "text": message["content"]}
            )

        groups = window.generate(
            "translate", [current[key] for key in due], question, parse=_some_text
        )
        for key, group in zip(due, groups, strict=True):
            before = current.pop(key)
            for child in group:
                said = {"role": _source(child)["prompt"][turn]["role"], "content": child.value}
                child.columns = {**child.columns, "prompt": [*before.columns["prompt"], said]}
                child.text = _texts(child.columns["prompt"])
                current[key] = child
    return [current[item.id] for item in items if item.id in current]


def _some_text(answer: Any) -> str:
    text = answer.text.strip().strip("-").strip()
    if not text:
        raise ValueError("it is empty")
    return text


def _answers(window: Window, settings: Settings, prompts: Sequence[Item]) -> list[Item]:
    """Candidate answers in the target language that say what the original does."""
    if settings.answers == "translated":
        asked = window.prompts.get("answer")

        def question(item: Item) -> list[dict[str, str]]:
            return asked.fill(
                {
                    "query": last_user(_source(item)["prompt"]),
                    "language": _name(item),
                    "text": _texts(_source(item)["completion"]),
                }
            )
    else:

        def question(item: Item) -> list[dict[str, str]]:
            return item.columns["prompt"]

    groups = window.generate("answer", prompts, question, n=settings.samples, parse=_some_text)
    answers = [child for group in groups for child in group]
    for child in answers:
        child.text = child.value
    answers = _right_language(window, answers, "answer")
    if settings.answers == "translated":
        answers = _same_parts(
            window, answers, lambda item: _texts(_source(item)["completion"]), "answer"
        )
    return _aligned(
        window, settings, answers, "answer", lambda item: _texts(_source(item)["completion"])
    )


def _best(prompts: Sequence[Item], answers: Sequence[Item]) -> list[tuple[Item, Item]]:
    """Each prompt with its most similar answer, where it has one."""
    best: dict[str, Item] = {}
    for answer in answers:
        name = answer.parent.id
        if name not in best or answer.columns["similarity"] > best[name].columns["similarity"]:
            best[name] = answer
    return [(prompt, best[prompt.id]) for prompt in prompts if prompt.id in best]


def _right_language(window: Window, items: Sequence[Item], step: str) -> list[Item]:
    """Those that are in their language; what is too short to tell passes."""
    kept = []
    for item in items:
        code = item.columns["language"]
        if is_in(_PARTS.sub(" ", item.text), code) is False:
            window.reject(item, f"{step}:wrong_language", f"not {NAMES[code]}")
        else:
            kept.append(item)
    return kept


def _same_parts(
    window: Window, items: Sequence[Item], original: Callable[[Item], str], step: str
) -> list[Item]:
    """Those that have the original's code, URLs, placeholders and numbers."""
    kept = []
    for item in items:
        wanted, found = (Counter(_PARTS.findall(text)) for text in (original(item), item.text))
        missing = wanted - found
        if missing:
            window.reject(item, f"{step}:changed_parts", f"missing {next(iter(missing))[:80]!r}")
        else:
            kept.append(item)
    return kept


def _aligned(
    window: Window,
    settings: Settings,
    items: Sequence[Item],
    what: str,
    original: Callable[[Item], str],
) -> list[Item]:
    """Those that say what the original says, with their `similarity` to it."""
    if settings.alignment == "embedding":
        return _near(window, settings, items, what, original)
    step = f"{what}_back"
    asked = window.prompts.get("back")
    language = NAMES[settings.source_language]
    judged = window.judge(
        step,
        items,
        lambda item: asked.fill({"language": language, "text": item.text}),
        parse=_some_text,
    )
    near = []
    for item, (back,) in judged:
        similarity = chrf(back, original(item))
        item.columns = {**item.columns, "similarity": round(similarity, 4), "back": back}
        if similarity < settings.min_chrf:
            window.reject(item, f"{step}:unlike", f"chrF {similarity:.2f}: {back[:200]}")
        else:
            near.append(item)
    compared = window.prompts.get("same")
    kept = []
    for item, (same,) in window.judge(
        f"{what}_same",
        near,
        lambda item: compared.fill({"original": original(item), "other": item.columns["back"]}),
        schema=SAME_SCHEMA,
        engine=settings.judge,
    ):
        item.columns = {k: v for k, v in item.columns.items() if k != "back"}
        if same["same"]:
            kept.append(item)
        else:
            window.reject(item, f"{what}_same:differs", same["difference"])
    return kept


def _near(
    window: Window,
    settings: Settings,
    items: Sequence[Item],
    what: str,
    original: Callable[[Item], str],
) -> list[Item]:
    pairs = [[item.text, original(item)] for item in items]
    similarities = window.compute(
        f"{what}_embedding",
        lambda some: _cosines(settings.embedder, some),
        pairs,
        source=settings.embedder.fingerprint,
    )
    kept = []
    for item, similarity in zip(items, similarities, strict=True):
        item.columns = {**item.columns, "similarity": round(similarity, 4)}
        if similarity < settings.min_cosine:
            window.reject(item, f"{what}_embedding:unlike", f"cosine {similarity:.2f}")
        else:
            kept.append(item)
    return kept


def _cosines(embedder: Any, pairs: Sequence[Sequence[str]]) -> list[float]:
    vectors = np.asarray(embedder.embed([text for pair in pairs for text in pair]), dtype=float)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return (unit[::2] * unit[1::2]).sum(1).tolist()


def chrf(text: str, reference: str, *, order: int = 6, beta: float = 2.0) -> float:
    """chrF (Popovic 2015): F-score of character n-grams of length 1 to `order`, recall weighted
    `beta` times as much; spaces and case do not count. 0 to 1. Long texts are cut at 20,000."""
    precisions, recalls = [], []
    bare, wanted = ("".join(t.casefold().split())[:_MAX_COMPARED] for t in (text, reference))
    for n in range(1, order + 1):
        ours, theirs = (
            Counter(t[i : i + n] for i in range(len(t) - n + 1)) for t in (bare, wanted)
        )
        if not ours or not theirs:
            continue
        common = (ours & theirs).total()
        precisions.append(common / ours.total())
        recalls.append(common / theirs.total())
    if not recalls or not sum(precisions) or not sum(recalls):
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
