"""Texts as the words that are compared."""

import unicodedata

# Scripts that put no space between words: here a character is a token.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "THAI", "LAO", "KHMER", "MYANMAR")


class _Characters(dict[int, str]):
    """What becomes of a character, found out when it is first met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Cf":  # a soft hyphen, a joiner: inside words, and not seen
            kept = ""
        elif category[0] not in "LMN":
            kept = " "
        elif unicodedata.name(character, "").startswith(_UNSPACED):
            kept = f" {character} "
        else:
            kept = character
        return self.setdefault(code, kept)


_CHARACTERS = _Characters()


def words_of(text: str) -> list[str]:
    """The words, whatever their case, Unicode form and punctuation.

    A word is a run of letters, marks and digits (so `48/2` is two); a character of Chinese,
    Japanese, Thai and other scripts without spaces is a word of its own.
    """
    return unicodedata.normalize("NFKC", text).casefold().translate(_CHARACTERS).split()
