"""What may be wrong with a right answer (Qwen3 §4.1, rules 2 to 6; the first is the verifier's).

Each rule takes candidates and returns those it finds nothing wrong with. Code comes before the
judge: it is exact, and costs nothing.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.window import Window
from synth.long_cot import validation
from synth.long_cot.queries import text_of
from synth.long_cot.scripts import foreign_share
from verifiers.extract import final_answer

Rule = Callable[[Window, Sequence[Item], Any], list[Item]]

_END_CHARS = 600
"""Of a thought, where it comes to its answer."""
_CONCLUSION_CHARS = 300
"""What was called the answer before this has been followed by second thoughts."""

# Not "guess a solution of the form ...", "choose two balls at random", or a passing "I guess".
_GUESS = re.compile(
    r"\bI(?:'ll| will| can only| have to| must)(?: just)? guess\b(?! (?:a|the) (?:form|solution))"
    r"|\bI(?:'ll| will)(?: just)? (?:pick|choose|take) .{0,30}\bat random\b"
    r"|\bmy (?:best )?guess (?:is|would be)\b|\b(?:just|only|merely) a guess\b"
    r"|\b(?:wild|random|lucky|blind|educated) guess\b|\bguess(?:ed|ing)? (?:that )?the answer\b"
    r"|猜测答案|猜一个答案|[只就]能猜|随便[猜选]|瞎猜|盲猜|蒙一个|凭感觉",
    re.IGNORECASE,
)
_ANSWER_WORDS = (2, 6)
"""`The answer is the sum of both` is none yet: an answer has two words, or six with a number."""
_NO_ANSWER = {"no_answer", "no_code", "no_table", "too_long"} | {
    f"{how}_answer" for how in ("unparsable", "unreadable", "malformed")
}

REVIEW = {
    "type": "object",
    "properties": {
        "why": {"type": "string"},
        "reached_by": {"enum": ["reasoning", "guesswork"]},
        "conclusion": {"enum": ["same", "different"]},
        "style": {"enum": ["steady", "shifts"]},
    },
    "required": ["why", "reached_by", "conclusion", "style"],
    "additionalProperties": False,
}


def in_order(settings: Any) -> list[Rule]:
    """The rules that these settings ask for."""
    rules: list[Rule] = [not_repetitive, not_guessed, consistent, in_its_language]
    return [*rules, validation.unlike, *([reviewed] if settings.review else [])]


def not_repetitive(window: Window, candidates: Sequence[Item], settings: Any) -> list[Item]:
    """Rule 2, as `repetition:heavy`."""
    kept = []
    for one in candidates:
        one.value.repeated = repeated_share(one.value.words, settings.repeat_words)
        if one.value.repeated > settings.max_repeated:
            detail = f"{one.value.repeated:.0%} of the words lie in repetitions"
            window.reject(one, "repetition:heavy", detail)
        else:
            kept.append(one)
    return kept


def repeated_share(words: Sequence[str], length: int) -> float:
    """Share of the words that lie in a run of `length` words which has come before."""
    seen: set[tuple[str, ...]] = set()
    num_repeated = 0
    covered = 0  # words before this place are counted already
    for start in range(len(words) - length + 1):
        run = tuple(words[start : start + length])
        if run in seen:
            num_repeated += start + length - max(covered, start)
            covered = start + length
        seen.add(run)
    return num_repeated / len(words) if words else 0.0


def not_guessed(window: Window, candidates: Sequence[Item], settings: Any) -> list[Item]:
    """Rule 3, as `guesswork:admitted`: the end of the thought, or the answer, says so itself."""
    kept = []
    for one in candidates:
        end = f"{one.value.thought[-_END_CHARS:]}\n{one.value.summary}"
        if found := _GUESS.search(end):
            window.reject(one, "guesswork:admitted", found[0])
        else:
            kept.append(one)
    return kept


def consistent(window: Window, candidates: Sequence[Item], settings: Any) -> list[Item]:
    """Rule 4, as `consistency:other_answer`: the thought ends with another answer, by the verifier.

    A thought that ends without a marked answer contradicts nothing; the judge has a look at it.
    """
    ends = {one.id: _end(one.value.thought) for one in candidates}
    concluded = [one for one in candidates if _concludes(ends[one.id])]
    verdicts = window.verify(
        "consistency", concluded, settings.verifier, completion=lambda one: ends[one.id]
    )
    gone = {one.id for one in concluded} - {one.id for one, _ in verdicts}
    for one, verdict in verdicts:
        if not verdict.correct and verdict.reason not in _NO_ANSWER:
            window.reject(one, "consistency:other_answer", verdict.detail)
            gone.add(one.id)
    return [one for one in candidates if one.id not in gone]


def _concludes(end: str) -> bool:
    answer = final_answer(end) or ""
    has_number = any(character.isdigit() or character == "\\" for character in answer)
    return bool(answer) and len(answer.split()) <= _ANSWER_WORDS[has_number]


def _end(thought: str) -> str:
    """The last of it. A line before it keeps a verifier from taking all of it for a bare answer."""
    return f"The thought ends:\n\n{thought[-_CONCLUSION_CHARS:]}"


def in_its_language(window: Window, candidates: Sequence[Item], settings: Any) -> list[Item]:
    """Rule 5, as `language:mixed`: thought or answer has too much in another script."""
    kept = []
    for one in candidates:
        query = text_of(one.source)
        shares = [foreign_share(part, query) for part in (one.value.thought, one.value.summary)]
        if max(shares) > settings.max_foreign:
            detail = f"{max(shares):.1%} of the words are of scripts that the query is not in"
            window.reject(one, "language:mixed", detail)
        else:
            kept.append(one)
    return kept


def reviewed(window: Window, candidates: Sequence[Item], settings: Any) -> list[Item]:
    """Rules 3 to 5 by the judge: `review:guesswork`, `review:inconsistent`, `review:style`."""
    prompt = window.prompts.get("review")
    judged = window.judge(
        "review",
        candidates,
        lambda one: prompt.fill(
            {
                "query": text_of(one.source),
                "thought": one.value.thought,
                "summary": one.value.summary,
            }
        ),
        schema=REVIEW,
        engine=settings.judge,
    )
    kept = []
    for one, (value,) in judged:
        reason = _wrong(value)
        if reason:
            window.reject(one, f"review:{reason}", value["why"])
        else:
            kept.append(one)
    return kept


def _wrong(value: dict[str, str]) -> str | None:
    if value["reached_by"] == "guesswork":
        return "guesswork"
    if value["conclusion"] == "different":
        return "inconsistent"
    return "style" if value["style"] == "shifts" else None
