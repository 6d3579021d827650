r"""The final answer that a completion commits to.

Looked for, and the one that starts last wins:

- `\boxed{...}` or `\fbox{...}` with balanced braces, or `\boxed 5`;
- a line that starts with `####` (GSM8K's convention);
- `answer is ...`, `answer to ... is ...`, `answer: ...`, `answer = ...` or `correct option is ...`,
  to the end of the sentence, line or displayed formula; a line `Answer` and the line after it.

`<answer>...</answer>` narrows it down: only what is in the last pair is read, and without a mark in
there all of it is the answer.

Without any of them a completion of one short line is its own answer. The last number of a longer
text is deliberately not taken: it would credit reasoning that never came to a conclusion. What
stands before the last `</think>` is not read, and a thought without an end has no answer.
"""

import re

TAIL_CHARS = 20_000
"""Only this much of the end is read: a final answer stands at the end, and a hostile completion of
megabytes must not cost more than a long one."""

BARE_ANSWER_CHARS = 200

_BRACE = re.compile(r"\\{1,2}f?box(?:ed)?\s{0,4}\{|\\[{}\\]|[{}]")
_UNBRACED_BOX = re.compile(r"\\boxed (?P<answer>[^\s{}$\\]+)")
_SEPARATOR = re.compile(r"(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])|[,;&]|\\q?quad")
_WORD = re.compile(r"(?<![a-zA-Z\\])[a-zA-Z]{2,}")
_HASHES = re.compile(r"^[ \t]{0,3}####(?!#)[ \t]*(?P<answer>[^\n]*)$", re.MULTILINE)
_PHRASE = re.compile(
    r"""^[#*_\ ]{0,8}(?:final\ )?answer[*_\ ]{0,4}\n\s{0,4}
    |\b(?:answers?(?:\ choice)?|(?:correct|right)\ (?:option|choice))
    (?:\ (?:to|of|for)\ [^.\n:=]{1,80}?)?
    [*_]{0,2}(?:\s(?:is|are|equals|(?:must|should|would)\ be)\b|\s?[:=\uff1a]|(?=\s?(?:\$|\\[(\[])))
    [*_:\s]{0,6}(?-i:(?:therefore|thus|hence|then|indeed|simply|clearly),?\s{1,2})?""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_DISPLAYS = (("$$", "$$"), (r"\[", r"\]"))
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
# "The number of apples is 5": the subject is no part of the answer.
_SUBJECT = re.compile(r"[A-Za-z].{0,200}\s(?:is|are|equals)\s(?=[-+(\\$0-9])")
_STATEMENT_END = re.compile(r"[.!?](?=\s|$)|,?\s\(?(?:because|since|which|where)\b")
_BULLETED = re.compile(r"(?:[ ]{0,3}(?:[-\u2022]|[0-9]{1,2}[.)])\s[^\n]{1,400}(?:\n|$)){2,}")


def final_answer(text: str) -> str | None:
    """The answer, freed of surrounding spaces, emphasis, math delimiters and full stop; or None."""
    answers = final_answers(text)
    return answers[-1] if answers else None


def final_answers(text: str) -> list[str]:
    r"""As `final_answer`, but all members of a closing list of boxes: `\boxed{1} and \boxed{2}`.

    The last one is the final answer. Empty if there is none.
    """
    tail, is_tagged = _untagged(_conclusion(text))
    boxes = _boxes(tail) if "box" in tail else []
    others = _other_marks(tail)
    marked = [(start, answer) for start, _, answer in boxes] + others
    kept = [mark for mark in marked if _trim(mark[1])]
    if not marked:
        return [_trim(tail)] if is_tagged else _bare_answer(tail)
    if not kept:
        return []
    start, answer = max(kept)
    if any(start == box[0] for box in boxes):
        return [_trim(box) for box in _closing_list(tail, boxes, start)]
    return [_trim(answer)]


def _conclusion(text: str) -> str:
    """What is read: the end of the text, behind any thought; empty if a thought did not end."""
    closed = text.rfind("</think>")
    if text.rfind("<think>") > closed:
        return ""
    start = max(len(text) - TAIL_CHARS, closed + len("</think>") if closed >= 0 else 0)
    return text[start:]


def _untagged(tail: str) -> tuple[str, bool]:
    """What is in the last `<answer>...</answer>`, or all of it if there is none or a blank one."""
    end = tail.rfind("</answer>")
    start = tail.rfind("<answer>", 0, end) if end >= 0 else -1
    content = tail[start + len("<answer>") : end]
    return (content, True) if start >= 0 and content.strip() else (tail, False)


def _bare_answer(tail: str) -> list[str]:
    whole = tail.strip() if len(tail) <= 2 * BARE_ANSWER_CHARS else ""
    is_short = len(whole) <= BARE_ANSWER_CHARS and len(whole.splitlines()) == 1
    is_bare = is_short and "\\boxed" not in whole  # a box cut off is no answer
    answer = _trim(whole) if is_bare else ""
    return [answer] if answer else []


def _other_marks(tail: str) -> list[tuple[int, str]]:
    """Start and text of the last answer of each kind that is not in braces."""
    marks = []
    if "\\boxed " in tail:
        marks += [(found.start(), found["answer"]) for found in _UNBRACED_BOX.finditer(tail)]
    if "####" in tail:
        marks += [(found.start(), found["answer"]) for found in _HASHES.finditer(tail)]
    lower = tail.lower()
    if "answer" in lower or "correct" in lower or "right" in lower:
        phrases = [(found.start(), found.end()) for found in _PHRASE.finditer(tail)]
        # The last but one for when the text breaks off behind the last "Answer:".
        marks += [(start, _statement(tail, end)) for start, end in phrases[-2:]]
    return marks


def _statement(text: str, start: int) -> str:
    """From `start` to the end of the displayed formula, bulleted list, sentence or line."""
    for left, right in _DISPLAYS:
        end = text.find(right, start + len(left)) if text.startswith(left, start) else -1
        if end >= 0:
            return text[start : end + len(right)]
    if bulleted := _BULLETED.match(text, start):
        return bulleted[0]
    line = text[start:].split("\n", 1)[0]
    sentence = _STATEMENT_END.split(line, maxsplit=1)[0]
    found = _SUBJECT.match(sentence)
    return sentence[found.end() :] if found else sentence


def _boxes(text: str) -> list[tuple[int, int, str]]:
    r"""Start, end and content of each complete `\boxed{}`, in one pass (braces may nest)."""
    boxes: list[tuple[int, int, str]] = []
    open_braces: list[tuple[int, int] | None] = []  # None for a brace that opens no box
    for found in _BRACE.finditer(text):
        if "box" in found[0]:
            open_braces.append((found.start(), found.end()))
        elif found[0] == "{":
            open_braces.append(None)
        elif found[0] == "}" and open_braces:
            box = open_braces.pop()
            if box is not None:
                boxes.append((box[0], found.end(), text[box[1] : found.start()]))
    return boxes


def _closing_list(text: str, boxes: list[tuple[int, int, str]], last: int) -> list[str]:
    """The box that starts at `last`, and those before it with nothing but `and` in between."""
    answers: list[str] = []
    for start, end, answer in sorted(boxes, reverse=True):
        if start > last:
            continue
        if answers and not (end <= last and _joins(text[end:last])):
            break
        answers.insert(0, answer)
        last = start
    return list(dict.fromkeys(answers))


def _joins(between: str) -> bool:
    """Whether two boxes with this between them are one answer: `and` and hardly a word besides."""
    if not between.strip(" $"):
        return True
    is_short = len(between) <= 60 and ". " not in between and "\n\n" not in between
    return bool(is_short and _SEPARATOR.search(between) and len(_WORD.findall(between)) <= 4)


def _trim(answer: str) -> str:
    answer = answer.strip().strip("*_`").strip()
    for left, right in _DELIMITERS:
        if len(answer) > len(left + right) and answer[: len(left)] == left:
            inner = answer[len(left) :].removesuffix(".")
            if inner.endswith(right) and left not in inner.removesuffix(right):
                return inner.removesuffix(right).strip()
    return answer.removesuffix(".").rstrip()
