"""A function named in a recipe: `file.py:name` or `package.module:name`."""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any


class SpecError(ValueError):
    """A spec that leads to no callable; the message names the spec and what to do."""


def load_callable(spec: str, root: Path) -> Callable[..., Any]:
    """The callable that `spec` names; files are relative to `root`.

    A file is executed once for as long as its content stays the same, so functions of one file
    share their module. Raises SpecError: no such file, module or name, not callable, or the code
    fails on import (with the line of the user's own file).
    """
    source, _, name = spec.rpartition(":")
    if not source or not name:
        raise SpecError(f"'{spec}' is neither 'file.py:name' nor 'package.module:name'")
    if source.endswith(".py"):
        module = _load_file(spec, (root / source).resolve())
    else:
        module = _load_module(spec, source)
    if not hasattr(module, name):
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"it has: {', '.join(sorted(names))}"
        raise SpecError(f"{spec}: no '{name}' in {source}; {hint}")
    found = getattr(module, name)
    if not callable(found):
        raise SpecError(f"{spec}: '{name}' is a {type(found).__name__}, not something to call")
    return found


def _load_file(spec: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise SpecError(f"{spec}: there is no file {path}; the path is relative to the recipe")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    # Named by its path, so that the same file edited in a session replaces what it registered.
    module_name = f"_align_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    module = sys.modules.get(module_name)
    if module is not None and module.__dict__.get("__align_digest__") == digest:
        return module
    module = ModuleType(module_name)
    module.__file__ = str(path)
    module.__dict__["__align_digest__"] = digest
    sys.modules[module_name] = module  # dataclasses and pickle look their module up there
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise _import_error(spec, error, str(path)) from error
    return module


def _load_module(spec: str, source: str) -> ModuleType:
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if source == missing or source.startswith(f"{missing}."):
            remedy = "install it, or write 'file.py:name'"
            raise SpecError(f"{spec}: there is no module '{missing}'; {remedy}") from None
        raise _import_error(spec, error, None) from error
    except (Exception, SystemExit) as error:
        raise _import_error(spec, error, None) from error


def _import_error(spec: str, error: BaseException, own_file: str | None) -> SpecError:
    """Points at the user's deepest line: in `own_file`, or outside the import machinery."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return SpecError(
            f"{spec}: {error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
        )
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == own_file
        or (own_file is None and not _is_import_machinery(frame.filename))
    ]
    where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    return SpecError(f"{spec}: {where}{what}")


def _is_import_machinery(filename: str) -> bool:
    return filename.startswith("<frozen ") or filename in (__file__, importlib.__file__)
