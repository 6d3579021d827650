r"""The final answer that a completion commits to.

Looked for, and the one that starts last wins:

- `\boxed{...}` with balanced braces;
- a line that starts with `####` (GSM8K's convention);
- `answer is ...`, `answer: ...` or `answer = ...`, to the end of the sentence or line.

Without any of them a completion of one short line is its own answer. The last number of a longer
text is deliberately not taken: it would credit reasoning that never came to a conclusion.
"""

import re

TAIL_CHARS = 20_000
"""Only this much of the end is read: a final answer stands at the end, and a hostile completion of
megabytes must not cost more than a long one."""

BARE_ANSWER_CHARS = 200

_BRACE = re.compile(r"\\boxed\s{0,4}\{|\\[{}\\]|[{}]")
_HASHES = re.compile(r"^[ \t]{0,3}####(?!#)[ \t]*(?P<answer>[^\n]*)$", re.MULTILINE)
_PHRASE = re.compile(
    r"\banswer[*_]{0,2}(?: is\b|\s?[:=])[*_:\s]{0,6}(?P<answer>[^\n]*)", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")


def final_answer(text: str) -> str | None:
    """The answer, freed of surrounding spaces, emphasis, math delimiters and full stop; or None."""
    tail = text[-TAIL_CHARS:]
    candidates = _boxes(tail)
    candidates += [(found.start(), found["answer"]) for found in _HASHES.finditer(tail)]
    for found in _PHRASE.finditer(tail):
        candidates.append((found.start(), _SENTENCE_END.split(found["answer"], maxsplit=1)[0]))
    if candidates:
        return _trim(max(candidates)[1]) or None
    whole = text.strip() if len(text) <= 2 * BARE_ANSWER_CHARS else ""
    is_short = len(whole) <= BARE_ANSWER_CHARS and len(whole.splitlines()) == 1
    is_bare = is_short and "\\boxed" not in whole  # a box cut off is no answer
    return (_trim(whole) or None) if is_bare else None


def _boxes(text: str) -> list[tuple[int, str]]:
    r"""Start and content of each complete `\boxed{}`, in one pass (braces may nest)."""
    boxes: list[tuple[int, str]] = []
    open_braces: list[tuple[int, int] | None] = []  # None for a brace that opens no box
    for found in _BRACE.finditer(text):
        if found[0].startswith("\\boxed"):
            open_braces.append((found.start(), found.end()))
        elif found[0] == "{":
            open_braces.append(None)
        elif found[0] == "}" and open_braces:
            box = open_braces.pop()
            if box is not None:
                boxes.append((box[0], text[box[1] : found.start()]))
    return boxes


def _trim(answer: str) -> str:
    answer = answer.strip().strip("*_`").strip()
    for left, right in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        if len(answer) > len(left + right) and answer[: len(left)] == left:
            inner = answer[len(left) :].removesuffix(".")
            if inner.endswith(right):
                return inner.removesuffix(right).strip()
    return answer.removesuffix(".").rstrip()
