"""What system prompts can ask for: axes with values, and combinations laid out over them."""

import hashlib
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from synth.flow.templates import PROMPTS
from synth.synthesis import SynthesisError
from synth.text.languages import NAMES
from verifiers.suggest import did_you_mean

_KEYS = ("forms", "axes", "contradictions")


@dataclass(frozen=True, eq=False)
class Axes:
    """forms: how a system prompt may be written. values: of each axis. languages: the code of the
    language that a value asks the answer to be in. contradictions: pairs (axis, value) that must
    not come together. Equal to itself alone, which makes it fit as the key of a cache."""

    forms: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]
    languages: Mapping[tuple[str, str], str]
    contradictions: tuple[frozenset[tuple[str, str]], ...]


@dataclass(frozen=True)
class Combination:
    """What one system prompt is to ask for: some axes with a value each."""

    form: str
    wishes: tuple[tuple[str, str], ...]
    language: str | None


class _Rounds:
    """Gives out the things of a list one by one, each round in another order, which follows from
    `key` alone. So none is given out a second time more than another, whatever the luck."""

    def __init__(self, things: Sequence[Any], key: str) -> None:
        self._things, self._key, self._round, self._left = things, key, 0, []

    def next(self, fits: Callable[[Any], bool] = lambda thing: True) -> Any:
        """The next one that fits; those passed over stay first in line. None if none fits."""
        while True:
            for place in reversed(range(len(self._left))):
                if fits(self._left[place]):
                    return self._left.pop(place)
            if not any(map(fits, self._things)):
                return None
            seed = hashlib.sha256(f"{self._key}:{self._round}".encode()).digest()
            more = random.Random(seed).sample(self._things, len(self._things))
            self._left, self._round = more + self._left, self._round + 1


@lru_cache(maxsize=16)
def combinations(
    axes: Axes, number: int, min_wishes: int, max_wishes: int, seed: int
) -> tuple[Combination, ...]:
    """The first `number` distinct combinations of `min_wishes` to `max_wishes` axes.

    Every choice of axes, and every value of an axis, comes about as often as the others. Raises
    SynthesisError where there are not that many without a contradiction.
    """
    if not min_wishes <= max_wishes <= len(axes.values):
        raise SynthesisError(
            f"min_wishes is {min_wishes} and max_wishes {max_wishes}; give the smaller one first, "
            f"and at most the number of axes, {len(axes.values)}"
        )
    sizes = range(min_wishes, max_wishes + 1)
    chosen = _Rounds(
        [names for size in sizes for names in itertools.combinations(axes.values, size)],
        f"{seed}:axes",
    )
    values = {name: _Rounds(texts, f"{seed}:axis:{name}") for name, texts in axes.values.items()}
    forms = _Rounds(axes.forms, f"{seed}:forms")
    found: dict[tuple[tuple[str, str], ...], Combination] = {}
    tries = 20 * number + 1000
    for _ in range(tries):
        wishes = _compatible(chosen.next(), values, axes.contradictions)
        if wishes is None or wishes in found:
            continue
        codes = (axes.languages.get(wish) for wish in wishes)
        language = next((code for code in codes if code), None)
        found[wishes] = Combination(forms.next(), wishes, language)
        if len(found) == number:
            return tuple(found.values())
    raise SynthesisError(
        f"system_prompts is {number}, and the axes gave {len(found)} combinations in {tries} "
        "tries; lower it, raise max_wishes, or give more values in the file `seeds`"
    )


def _compatible(
    names: Sequence[str],
    values: Mapping[str, _Rounds],
    contradictions: Sequence[frozenset[tuple[str, str]]],
) -> tuple[tuple[str, str], ...] | None:
    """A value for each of the axes, without a contradiction; None where one has none left."""
    wishes: list[tuple[str, str]] = []
    for name in names:

        def fits(text: str, name: str = name) -> bool:
            together = {*wishes, (name, text)}
            return not any(pair <= together for pair in contradictions)

        text = values[name].next(fits)
        if text is None:
            return None
        wishes.append((name, text))
    return tuple(wishes)


def read(path: Path | None, language: str = "en") -> Axes:
    """The axes of a file, or of our own in the language where there are such.

    Raises SynthesisError with the file and what is wrong in it.
    """
    if path is None:
        ours = PROMPTS / "system_prompts"
        path = ours / f"axes.{language}.yaml"
        if not path.is_file():
            path = ours / "axes.en.yaml"
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError as error:
        raise SynthesisError(f"seeds {path} can't be read: {error.strerror}") from None
    return _read(path, changed_ns)


@lru_cache(maxsize=16)
def _read(path: Path, _changed_ns: int) -> Axes:
    try:
        found = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}" if mark else ""
        problem = (error.problem or error.context or "a mistake").splitlines()[0]
        raise SynthesisError(f"{path}{at}: this is not YAML: {problem}") from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise SynthesisError(f"{path} can't be read: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("axes"), dict):
        raise SynthesisError(f"{path}: give a mapping `axes`, from a name to a list of values")
    for key in found:
        if key not in _KEYS:
            raise SynthesisError(f"{path}: unknown key '{key}'{did_you_mean(str(key), _KEYS)}")
    values, languages = {}, {}
    for name, entries in found["axes"].items():
        values[str(name)] = _texts(entries, f"{path}: axes.{name}", str(name), languages)
    forms = _texts(found.get("forms"), f"{path}: forms", "", {})
    pairs = found.get("contradictions") or []
    if not isinstance(pairs, list):
        raise SynthesisError(f"{path}: contradictions is {pairs!r}; give a list of mappings")
    contradictions = tuple(_contradiction(pair, values, path) for pair in pairs)
    return Axes(forms, values, languages, contradictions)


def _texts(
    entries: Any, where: str, axis: str, languages: dict[tuple[str, str], str]
) -> tuple[str, ...]:
    """Values are texts, or `{text, language}`; codes of languages go into `languages`."""
    if not isinstance(entries, list) or not entries:
        raise SynthesisError(f"{where} is {entries!r}; give a list of texts")
    texts = []
    for entry in entries:
        text = entry.get("text") if isinstance(entry, dict) else entry
        if not isinstance(text, str) or not text.strip() or text in texts:
            raise SynthesisError(f"{where}: {entry!r} is no text, or is there twice")
        if isinstance(entry, dict):
            code = entry.get("language")
            if set(entry) != {"text", "language"} or code not in NAMES:
                raise SynthesisError(
                    f"{where}: {entry!r} must have `text` and a known `language`"
                    f"{did_you_mean(str(code), NAMES)}"
                )
            languages[axis, text] = code
        texts.append(text)
    return tuple(texts)


def _contradiction(
    pair: Any, values: Mapping[str, Sequence[str]], path: Path
) -> frozenset[tuple[str, str]]:
    if not isinstance(pair, dict) or len(pair) < 2:
        raise SynthesisError(f"{path}: contradiction {pair!r} does not name two axes or more")
    for axis, text in pair.items():
        if axis not in values:
            raise SynthesisError(
                f"{path}: contradictions: unknown axis '{axis}'{did_you_mean(str(axis), values)}"
            )
        if text not in values[axis]:
            raise SynthesisError(
                f"{path}: contradictions: '{axis}' has no value {text!r}"
                f"{did_you_mean(str(text), values[axis])}"
            )
    return frozenset(pair.items())
