"""The languages of the sandbox, by name."""

from verifiers.sandbox.languages import compiled, scripts, small
from verifiers.sandbox.languages.row import Language
from verifiers.suggest import did_you_mean

__all__ = ["LANGUAGES", "Language", "UnknownLanguage", "get"]

LANGUAGES: dict[str, Language] = {
    row.name: row for row in (*scripts.ROWS, *compiled.ROWS, *small.ROWS)
}

_NAMES = {name: row for row in LANGUAGES.values() for name in (row.name, *row.aliases)}


class UnknownLanguage(ValueError):
    """No language has this name; the message names a close one."""


def get(name: str) -> Language:
    """The language of this name or alias, in any case. Raises UnknownLanguage."""
    row = _NAMES.get(name.lower())
    if row is None:
        raise UnknownLanguage(f"unknown language '{name}'{did_you_mean(name.lower(), _NAMES)}")
    return row
