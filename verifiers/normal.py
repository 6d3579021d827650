"""Texts that differ only in how they are written, made equal."""

import re
import unicodedata

from verifiers.extract import TAIL_CHARS

_FONT = re.compile(r"\\(?:text(?:bf|it|rm|sf)?|math(?:rm|bf|it|sf)|mbox)\s?\{([^{}]*)\}")
_GAP = re.compile(r"\\(?:[ ,;:!]|q?quad\b)|(?<=\S)~(?=\S)")
_ESCAPED = re.compile(r"\\([%$&#_])")
_SPACES = re.compile(r"\s+")
QUOTES = re.compile(r"[\"'`\u2018-\u201f\u00ab\u00bb]")
# Before a word of two letters or more, so that the A of `A, B` and of `A > B` stays.
_ARTICLE = re.compile(r"(?<!\S)(?:an?|the)\s+(?=[^\W\d_]{2})")
# Kept where they mean something: in 1,234.5 and 12:30, before a word (!p), and all of + - > ( and
# the like. A hyphen joins words, but is a sign before a digit.
_PUNCTUATION = re.compile(r"[,;:](?![0-9])|(?<![0-9])[,;:]|[!?](?=[\s!?]|$)")
_STOP = re.compile(r"\.(?![0-9])")
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u2010-\u2014](?=[^\W\d_])")
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-"})


def normalised(text: str) -> str:
    """Without regard to case, articles, quotes, closing punctuation, spacing and Unicode forms.

    A number keeps its sign, point and separators; symbols and brackets stay.
    """
    text = _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip().casefold()
    text = _ARTICLE.sub("", QUOTES.sub("", text))
    text = _STOP.sub("", _PUNCTUATION.sub(" ", _HYPHEN.sub(" ", text))).translate(_MINUS)
    return " ".join(text.split())


def untypeset(text: str) -> str:
    r"""Words as they are before LaTeX: `\text{Paris}` is `Paris`, and `50\%` is `50%`."""
    if "\\" not in text:
        return text
    return _ESCAPED.sub(r"\1", _GAP.sub(" ", _FONT.sub(r"\1", text))).strip()


def after_thought(text: str, num_chars: int) -> str:
    """The last `num_chars` of what follows a `</think>`; "" if a thought did not end."""
    end = text.rfind("</think>")
    if text.rfind("<think>") > end:
        return ""
    return text[max(len(text) - num_chars, end + len("</think>") if end >= 0 else 0) :]


def last_line(text: str) -> str:
    """The last line that is not blank, freed of emphasis; "" if there is none."""
    lines = after_thought(text, TAIL_CHARS).strip().rsplit("\n", 1)
    return lines[-1].strip().strip("*_`").strip()
