"""Constraints on language and on capital letters."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from verifiers.instructions.counting import shortfall
from verifiers.instructions.sentences import sentences
from verifiers.instructions.tokens import tokens
from verifiers.suggest import did_you_mean
from verifiers.verdict import VerifierError

if TYPE_CHECKING:
    from langdetect.detector_factory import DetectorFactory


class UndetectableLanguage(Exception):
    """The text says too little of its language (digits, emoji). The published checker counts that
    as followed, which a model could learn to use."""


def response_language(response: str, *, language: str) -> str:
    """language: an ISO 639-1 code; Chinese is `zh-cn` or `zh-tw`."""
    known = _factory().langlist
    if language not in known:
        raise VerifierError(
            f"constraint 'language:response_language': language '{language}' is none of "
            f"langdetect's codes{did_you_mean(language, known)}"
        )
    return _not_in(language, response)


def english_capital(response: str) -> str:
    return _not_in("en", response) if response.isupper() else "not in capital letters throughout"


def english_lowercase(response: str) -> str:
    return _not_in("en", response) if response.islower() else "not in small letters throughout"


def capital_word_frequency(response: str, *, capital_frequency: int, capital_relation: str) -> str:
    """Words all in capitals. `I` is one, and `I'll` holds one."""
    found = sum(word.isupper() for sentence in sentences(response) for word in tokens(sentence))
    return shortfall(found, capital_relation, capital_frequency, "words in capital letters")


def _not_in(language: str, response: str) -> str:
    found = detect(response)
    return "" if found == language else f"the language is {found!r}, not {language!r}"


def detect(text: str) -> str:
    """The language's code. Raises UndetectableLanguage."""
    from langdetect.lang_detect_exception import LangDetectException

    detector = _factory().create()
    detector.append(text)
    try:
        found = detector.detect()
    except LangDetectException as error:
        raise UndetectableLanguage(str(error)) from None
    if found == detector.UNKNOWN_LANG:
        raise UndetectableLanguage("no language is likely")
    return found


@cache
def _factory() -> "DetectorFactory":
    """langdetect with a fixed seed, without touching the one that others in this process share.

    Profiles are read in the order of their names: langdetect's own order is the file system's, and
    sums differ in the last bit with it. Two threads may both load; either result is complete.
    """
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    files = sorted(Path(PROFILES_DIRECTORY).iterdir())
    factory.load_json_profile([file.read_text(encoding="utf-8") for file in files])
    factory.set_seed(0)
    return factory
