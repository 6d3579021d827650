"""sha256 of what a recipe names: files, folders, and the source of functions."""

import hashlib
import json
import os
from importlib.util import find_spec
from pathlib import Path

from align.errors import AlignError

# A digest is remembered for files above this size: weights are too large to read at every plan.
REMEMBERED_BYTES = 64 * 2**20


def file_sha256(path: Path) -> str:
    """Hex digest of a file's content; of large files it is remembered by path, size and time."""
    stat = path.stat()
    if stat.st_size < REMEMBERED_BYTES:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    memory = _cache_folder() / "sha256.json"
    known = json.loads(memory.read_text()) if memory.is_file() else {}
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    if key not in known:
        with path.open("rb") as stream:
            known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
        memory.parent.mkdir(parents=True, exist_ok=True)
        fresh = memory.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(known))
        fresh.replace(memory)
    return known[key]


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "align"


def path_sha256(path: Path) -> str:
    """Digest of a file, or of a folder's relative names and contents (hidden files left out)."""
    if path.is_file():
        return file_sha256(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in relative.parts):
            digest.update(f"{relative.as_posix()}\0{file_sha256(file)}\0".encode())
    return digest.hexdigest()


def module_source(module: str) -> Path:
    """Source file of a module, found without importing its parents.

    Raises AlignError if the top package is not installed or holds no such file.
    """
    package, _, rest = module.partition(".")
    spec = find_spec(package)  # looking up a submodule would import the package
    if spec is None or not spec.origin:
        raise AlignError(f"the package '{package}' is not installed")
    if not rest:
        return Path(spec.origin)
    path = Path(spec.origin).parent.joinpath(*rest.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    raise AlignError(f"the package '{package}' has no module '{module}'")
