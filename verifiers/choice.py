r"""Verifier "choice": which of the lettered options a completion settles on.

Read is the final answer (`verifiers.extract`) or, without one, a last line that holds nothing but a
letter. A letter in running text is no answer: `A dog` is not A. An answer may be `B`, `(B)`, `B.`,
`\text{B}`, `B) Paris`, `B (Paris)`, the text of an option, or several of these: `A, C`, `A and C`,
`AC`.
"""

import json
import re
import string
import unicodedata
from typing import Any

from verifiers.extract import TAIL_CHARS, final_answers
from verifiers.normal import last_line, normalised, untypeset
from verifiers.verdict import Verdict

LETTERS = string.ascii_uppercase[:10]
"""The options where no `choices` are given: A to J, as many as the widest usual benchmarks have."""

Options = dict[str, str]
"""Label to text, in order; the text is "" where it is unknown."""

_AND = re.compile(r"[,;&+]\s*and\b|[,;&+]|\band\b", re.IGNORECASE)
_PREFIX = re.compile(r"(?:option|choice|letter|answer)s?\b[\s:]*", re.IGNORECASE)
_AROUND = " ()[]{}.:*_$`"
_AROUND_LETTER = _AROUND + "<>'\"\u2018\u2019\u201c\u201d"
# `B. Paris`, `B (Paris)`, `B because`, but not `A dog`, `A-frame` or `E.g.`
_SET_OFF = re.compile(
    r"""[.,:;](?=\s|$)|\s*[(\[]|\s+[-\u2013\u2014]\s
    |\s+(?:because|since|is\ (?:the\ )?(?:correct|right|best))\b""",
    re.IGNORECASE | re.VERBOSE,
)
_HEDGED = re.compile(
    r"""\W*(?:or|and|but|maybe|perhaps|either|alternatively|otherwise|(?:is|was)\s(?:not|wrong
    |incorrect|false)|isn't|cannot|wrong|incorrect)\b|\s*/""",
    re.IGNORECASE | re.VERBOSE,
)
_JOINED = re.compile(r"(?:(?:or|and|also|maybe|perhaps) |/ ?)*")
# Of `Paris (B)` and `Paris (option B)`.
_LABEL_LAST = re.compile(r"[(\[](?:option\s)?(\w{1,3})[)\]]$", re.IGNORECASE)


class _ContradictionError(Exception):
    """The letter of one option with the text of another."""


def verify(
    completion: str,
    reference: Any,
    *,
    choices: list[str] | dict[str, Any] | str | None = None,
    **columns: Any,
) -> Verdict:
    """Compare the options that `completion` settles on with those of `reference`, as sets.

    reference: a letter, the text of an option, an index into `choices` from 0 (an int), or a list
    of these where several are right. choices: a list of texts, a dict from label to text, a dict
    with the lists `text` and `label`, or any of them as JSON. Reasons: `equal`, `not_equal`,
    `no_answer`, `unreadable_answer`, `contradictory_answer` (the letter of one option, the text of
    another); `unparsable_reference` with correct None.
    """
    options = _options(choices)
    expected = _expected(reference, options) if options else None
    if options is None or expected is None:
        what = f"choices: {choices!r:.80}, reference: {reference!r:.80}"
        return Verdict(None, 0.0, "unparsable_reference", what)
    answer = ", ".join(final_answers(completion))
    if not answer:
        answer = last_line(completion)
        if answer.strip(_AROUND_LETTER) not in options:
            return Verdict(False, 0.0, "no_answer")
    try:
        chosen = _chosen(answer, options)
    except _ContradictionError as error:
        return Verdict(False, 0.0, "contradictory_answer", str(error))
    if chosen is None:
        return Verdict(False, 0.0, "unreadable_answer", f"answer {answer[:80]!r}")
    if chosen == expected:
        return Verdict(True, 1.0, "equal")
    return Verdict(False, 0.0, "not_equal", f"{sorted(chosen)} is not {sorted(expected)}")


def _options(choices: Any) -> Options | None:
    if choices is None:
        return dict.fromkeys(LETTERS, "")
    if isinstance(choices, str):
        try:
            choices = json.loads(choices)
        except (ValueError, RecursionError):
            return None
    if isinstance(choices, dict):
        texts, labels = choices.get("text"), choices.get("label")
        if isinstance(texts, list) and isinstance(labels, list) and len(texts) == len(labels):
            choices = dict(zip(labels, texts, strict=True))
    elif isinstance(choices, list | tuple) and len(choices) <= len(string.ascii_uppercase):
        choices = dict(zip(string.ascii_uppercase, choices, strict=False))
    if not isinstance(choices, dict) or not choices:
        return None
    given = {label: text for label, text in choices.items() if text is not None}
    return {str(label).strip(_AROUND): str(text) for label, text in given.items()}


def _expected(reference: Any, options: Options) -> set[str] | None:
    if isinstance(reference, list | tuple):
        parts = [_expected(part, options) for part in reference]
        return None if not parts or None in parts else set().union(*parts)
    if isinstance(reference, int) and not isinstance(reference, bool):
        labels = list(options)
        return {labels[reference]} if 0 <= reference < len(labels) else None
    if not isinstance(reference, str) or len(reference) > TAIL_CHARS:
        return None
    try:
        return _chosen(reference, options)
    except _ContradictionError:
        return None


def _chosen(answer: str, options: Options) -> set[str] | None:
    """The labels that an answer names, or None if it names none. Raises _ContradictionError."""
    answer = untypeset(unicodedata.normalize("NFKC", answer)).strip()
    several = _bare_labels(answer, options)
    if several:
        return several
    label = _label(answer, options)
    if label:
        return {label}
    run = answer.strip(_AROUND)
    if run and set(run) <= set(options) and list(run) == [name for name in options if name in run]:
        return set(run)  # `AC`
    labels = [_label(part, options) for part in _AND.split(answer) if part.strip()]
    return set(labels) if labels and None not in labels else None  # type: ignore[arg-type]


def _bare_labels(answer: str, options: Options) -> set[str]:
    """The labels in `b, a`, which is not B and then a word; empty if there is anything else."""
    parts = {part.strip(_AROUND_LETTER).casefold() for part in _AND.split(answer) if part.strip()}
    named = {label for label in options if label.casefold() in parts}
    is_text = normalised(answer) in map(normalised, options.values())
    return named if len(named) == len(parts) > 1 and not is_text else set()


def _label(answer: str, options: Options) -> str | None:
    """The label of the one option that is given by its label, its text, or both."""
    answer = _PREFIX.sub("", answer.strip(" *_`"), count=1)
    bare, text = answer.strip(_AROUND_LETTER).casefold(), normalised(answer)
    for label in options:
        if bare == label.casefold():
            return label
    for label, option in options.items():
        if text and text == normalised(option):
            return label
    found = _LABEL_LAST.search(answer)
    said = normalised(answer[: found.start()]) if found else ""
    if found and said and said == normalised(options.get(found[1], "")):
        return found[1]
    for label in options:
        found = re.match(rf"[(\[*_]*{re.escape(label)}(?![\w'])[)\]*_]*", answer, re.IGNORECASE)
        if found:
            return label if _agrees(label, found[0], answer[found.end() :], options) else None
    return None


def _agrees(label: str, written: str, rest: str, options: Options) -> bool:
    """Whether the words after a label leave it standing. Raises _ContradictionError."""
    said = normalised(rest.strip(_AROUND + "\u2013\u2014-")) + " "
    texts = {other: normalised(option) + " " for other, option in options.items() if option}
    if said == texts.get(label):
        return True
    others = "|".join(re.escape(other) for other in options if other != label)
    # Neither an article nor a pronoun is another option.
    if others and re.search(rf"(?<![\w'])(?![AI] [a-z])(?:{others})(?![\w'])", rest):
        return False
    if others and re.search(rf"\((?:{others})\)|^\W*(?:{others})\W*$", rest, re.IGNORECASE):
        return False
    named = [other for other, text in texts.items() if text.strip() and said.startswith(text)]
    if named:
        meant = max(named, key=lambda other: (len(texts[other]), other == label))
        if meant != label:
            raise _ContradictionError(f"{label} with the text of {meant}: {rest[:80]!r}")
        after = said[len(texts[label]) :]
        after = after[_JOINED.match(after).end() :]  # type: ignore[union-attr]
        return not any(after.startswith(text) for text in texts.values() if text.strip())
    is_set_off = (written[0] in "([" and rest[:1].isspace()) or _SET_OFF.match(rest)
    return bool(is_set_off and not _HEDGED.match(rest))
