"""Which language a text is in, as far as code can tell."""

import unicodedata
from collections import Counter

from verifiers.instructions.case import UndetectableLanguage, detect

NAMES = {
    "ar": "Arabic",
    "bn": "Bengali",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""ISO 639-1 codes of the languages that can be told, with their English names."""

_SCRIPTS = {
    "ar": {"ARABIC"},
    "bn": {"BENGALI"},
    "el": {"GREEK"},
    "fa": {"ARABIC"},
    "he": {"HEBREW"},
    "hi": {"DEVANAGARI"},
    "ja": {"HIRAGANA", "KATAKANA", "CJK"},
    "ko": {"HANGUL"},
    "ru": {"CYRILLIC"},
    "ta": {"TAMIL"},
    "th": {"THAI"},
    "uk": {"CYRILLIC"},
    "ur": {"ARABIC"},
    "zh": {"CJK"},
}
_LATIN = {"LATIN"}
_ENOUGH_LETTERS = 60


def scripts(text: str) -> Counter[str]:
    """How many letters of each script, by the first word of their Unicode names."""
    found: Counter[str] = Counter()
    for character in text[:20_000]:
        if character.isalpha():
            found[unicodedata.name(character, "?").split()[0].removesuffix("-")] += 1
    return found


def is_in(text: str, language: str) -> bool | None:
    """Whether the text is in the language; None where there is too little to tell.

    The script must be the language's for half of the letters (the rest may be names and code).
    Where several languages share the script, langdetect decides on texts of at least 60 letters.
    """
    letters = scripts(text)
    total = letters.total()
    if not total:
        return None
    own = sum(letters[script] for script in _SCRIPTS.get(language, _LATIN))
    if 2 * own < total:
        return False
    if language == "ja" and letters["HIRAGANA"] + letters["KATAKANA"] == 0 and total > 8:
        return False
    if language == "zh":
        return 10 * (letters["HIRAGANA"] + letters["KATAKANA"]) < total
    shared = [
        code for code in NAMES if _SCRIPTS.get(code, _LATIN) == _SCRIPTS.get(language, _LATIN)
    ]
    if len(shared) == 1:
        return True
    if total < _ENOUGH_LETTERS:
        return None
    try:
        return detect(text).partition("-")[0] == language
    except UndetectableLanguage:
        return None
