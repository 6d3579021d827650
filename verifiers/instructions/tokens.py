"""Words of one English sentence, cut the way the Penn Treebank cuts them.

The published count of capital words rests on it: `DON'T` is DO and N'T, `CANNOT` is CAN and NOT,
`NASA-ESA` is one word.
"""

import re

_APART = re.compile(
    r"""[][(){}<>\xab\xbb\u2018\u2019\u201c-\u201e"`;@#$%&?!*\u2012-\u2015]|''|--|\.\.+|[:,](?!\d)"""
)
_CLOSING = " \t\n\r\f\v])}>\"'\xbb\u201d\u2019"
_OPENING_QUOTE = re.compile(r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", re.IGNORECASE)
_CLITICS = [
    re.compile(r"(?<=[^'\s])('[sSmMdD]?)(?=\s)"),
    re.compile(r"(?<=[^'\s])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T)(?=\s)"),
]
_TWO_WORDS = re.compile(
    r"\b(can(?=not)|d(?='ye)|gim(?=me)|gon(?=na)|got(?=ta)|lem(?=me)|more(?='n)|wan(?=na\s))"
    r"(not|'ye|me|na|ta|'n)\b",
    re.IGNORECASE,
)


def tokens(sentence: str) -> list[str]:
    """Words and punctuation marks, in order."""
    body = sentence.rstrip(_CLOSING)
    if body.endswith(".") and body[-2:-1] not in ("", "."):
        # Inside a sentence a full stop belongs to its word (Mr., U.S.).
        sentence = f"{body[:-1]} . {sentence[len(body) :]}"
    text = _OPENING_QUOTE.sub("' ", sentence)
    text = f" {_APART.sub(lambda mark: f' {mark[0]} ', text)} "
    for clitic in _CLITICS:  # one after the other: in `'I DON'T'` the quote goes first
        text = clitic.sub(r" \1", text)
    return _TWO_WORDS.sub(r" \1 \2 ", text).split()
