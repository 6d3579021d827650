"""Whether a text mixes scripts that the question it answers is not in."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from synth.text.words import words_of

# Bounded: else an opening without an end would be looked through to the end, again and again.
_FORMULA = r".{0,2000}?"
_NOT_PROSE = re.compile(
    rf"```.*?(?:```|\Z)|`[^`\n]*`|\$\${_FORMULA}\$\$|\$[^$\n]*\$|\\\[{_FORMULA}\\\]"
    rf"|\\\({_FORMULA}\\\)|\\[a-zA-Z]+",
    re.DOTALL,
)
_JAPANESE = {"HIRAGANA", "KATAKANA", "CJK"}
_NATIVE_LATIN = 0.3
"""Share of a query's words: with fewer Latin ones among others, these are names and terms."""
_FEW_WORDS = 5


def foreign_share(text: str, query: str) -> float:
    """Share of the words of scripts that the query is not in; a Chinese character is a word.

    Code and formulas do not count, nor Greek letters and other single ones, nor Latin words of at
    most three letters. 0 for texts of few words, and where the query has none.
    """
    asked, said = _scripts(query), _scripts(text)
    if not asked or said.total() < _FEW_WORDS:
        return 0.0
    native = set(asked) - {"LATIN"}
    if native & (_JAPANESE - {"CJK"}):
        native |= _JAPANESE
    if not native or asked["LATIN"] >= _NATIVE_LATIN * asked.total():
        native.add("LATIN")
    return sum(n for script, n in said.items() if script not in native) / said.total()


def _scripts(text: str) -> Counter[str]:
    """How many words there are of each script."""
    found: Counter[str] = Counter()
    for word in words_of(_NOT_PROSE.sub(" ", text)):
        script = _script(next(filter(str.isalpha, word), ""))
        shortest = 1 if script in _JAPANESE else 4 if script == "LATIN" else 2
        if script not in ("", "GREEK") and len(word) >= shortest:
            found[script] += 1
    return found


@lru_cache(maxsize=1 << 16)
def _script(letter: str) -> str:
    """The first word of its Unicode name: LATIN, CJK, CYRILLIC, ...; "" for no letter."""
    return re.split("[ -]", unicodedata.name(letter, ""))[0] if letter else ""
