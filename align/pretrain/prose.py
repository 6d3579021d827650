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

    Strings of `min_length` to `max_length` characters are taken in an order given by their hash
    (so each set is a sample of the whole library) until `heldout_characters`, then
    `max_characters` for the corpus, are reached. Raises `ValueError` when nothing is left.
    """
    counts: Counter[str] = Counter()
    texts: dict[str, str] = {}
    folder = root or Path(sysconfig.get_paths()["stdlib"])
    for raw in _docstrings(folder, counts):
        text = _clean(raw)
        key = hashlib.sha256(text.encode()).hexdigest()
        if len(text) < min_length:
            counts["shorter than min_length"] += 1
        elif len(text) > max_length:
            counts["longer than max_length"] += 1
        elif key in texts:
            counts["duplicate"] += 1
        else:
            texts[key] = text
    order = [texts[key] for key in sorted(texts)]
    heldout, rest = _take(order, heldout_characters)
    kept, left = _take(rest, max_characters)
    if not heldout or not kept:
        raise ValueError(
            f"{len(order)} documentation strings of {min_length} to {max_length} characters under "
            f"{folder} do not fill both sets; widen the limits or name another folder as root"
        )
    counts["not needed"] = len(left)
    return Prose(
        documents=[{"source": "prose", "text": text, "messages": None} for text in kept],
        heldout=[{"text": text} for text in heldout],
        counts=dict(counts),
    )


def _docstrings(folder: Path, counts: Counter[str]) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        if NOT_PROSE.intersection(path.relative_to(folder).parts):
            continue
        try:
            tree = ast.parse(path.read_bytes())
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


def _take(texts: list[str], characters: int) -> tuple[list[str], list[str]]:
    """The first texts whose lengths add up to at least `characters`, and the rest."""
    total = 0
    for place, text in enumerate(texts):
        if total >= characters:
            return texts[:place], texts[place:]
        total += len(text)
    return texts, []
