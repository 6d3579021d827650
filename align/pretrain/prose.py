"""English prose that every machine has: the documentation strings of Python's standard library."""

import ast
import hashlib
import inspect
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.errors import AlignError

NOT_PROSE = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "turtledemo"}
"""Folders left out: tests, tools, and packages that are not of the library."""


@dataclass(frozen=True)
class Prose:
    """Corpus documents, held-out rows (`{"text"}`), and what was dropped by reason."""

    documents: list[dict[str, Any]]
    heldout: list[dict[str, str]]
    counts: dict[str, int]


def make_prose(
    *,
    max_characters: int,
    heldout_characters: int,
    min_length: int = 120,
    max_length: int = 1500,
    root: Path | None = None,
) -> Prose:
    """Documentation strings of the Python files under `root`, by default the standard library's.

    Files are read in an order given by the hash of their path, so that any part of them is a
    sample of the library, and no further than needed: the strings of `min_length` to `max_length`
    characters fill first the held-out set, then the corpus. Raises `AlignError` when the files
    end before both have their characters.
    """
    counts: Counter[str] = Counter()
    folder = root or Path(sysconfig.get_paths()["stdlib"])
    wanted = heldout_characters + max_characters
    texts: dict[str, None] = {}  # an ordered set
    characters = 0
    for raw in _docstrings(folder, counts):
        if characters >= wanted:
            break
        text = _clean(raw)
        if len(text) < min_length:
            counts["shorter than min_length"] += 1
        elif len(text) > max_length:
            counts["longer than max_length"] += 1
        elif text in texts:
            counts["duplicate"] += 1
        else:
            texts[text] = None
            characters += len(text)
    if characters < wanted:
        raise AlignError(
            f"the documentation strings of {min_length} to {max_length} characters under {folder} "
            f"add up to {characters} characters, {wanted} are asked for; ask for fewer, widen the "
            f"limits or name another folder as root"
        )
    heldout, kept = _split(list(texts), heldout_characters)
    return Prose(
        documents=[{"source": "prose", "text": text, "messages": None} for text in kept],
        heldout=[{"text": text} for text in heldout],
        counts=dict(counts),
    )


def _docstrings(folder: Path, counts: Counter[str]) -> Iterator[str]:
    names = (path.relative_to(folder) for path in folder.rglob("*.py"))
    prose = [name for name in names if not NOT_PROSE.intersection(name.parts)]
    for name in sorted(prose, key=lambda name: hashlib.sha256(name.as_posix().encode()).digest()):
        try:
            tree = ast.parse((folder / name).read_bytes())
        except (SyntaxError, ValueError):
            counts["file that does not parse"] += 1
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node, clean=False) or ""


def _clean(text: str) -> str:
    """Dedented, without trailing blanks, with at most one empty line in a row."""
    lines = [line.rstrip() for line in inspect.cleandoc(text).splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _split(texts: list[str], characters: int) -> tuple[list[str], list[str]]:
    """The first texts whose lengths add up to at least `characters`, and the rest."""
    total = 0
    for place, text in enumerate(texts):
        if total >= characters:
            return texts[:place], texts[place:]
        total += len(text)
    return texts, []
