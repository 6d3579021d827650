"""Answers and executions on disk, so that none is asked for twice.

A record is visible once it is committed, and a crash tears none. Errors are never put in.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from synth.synthesis import SynthesisError

VERSION = 1
"""Part of every key; raised when records would mean something else."""

_MOST_PARAMETERS = 500


def canonical(value: Any) -> bytes:
    """JSON with sorted keys. What JSON has no word for becomes text."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps(value, option=options, default=str)
    except TypeError:  # whole numbers beyond 64 bits, halves of characters
        return json.dumps(_sortable(value), sort_keys=True, default=str).encode()


def _sortable(value: Any) -> Any:
    """With texts for keys, which json can't sort beside others."""
    if isinstance(value, dict):
        return {str(key): _sortable(item) for key, item in value.items()}
    return [_sortable(item) for item in value] if isinstance(value, list | tuple) else value


def key_prefix(**decides: Any) -> Any:
    """A hash of what many keys have in common; `key` goes on from it. Values are JSON."""
    decides["version"] = VERSION
    return blake2b(canonical(decides), digest_size=16)


def key(prefix: Any, asked: bytes) -> bytes:
    """16 bytes. `asked`: canonical JSON of what this one request or execution is about."""
    digest = prefix.copy()
    digest.update(b"\0" + asked)
    return digest.digest()


class Store:
    """Values by key, in an SQLite file; in memory without a path. Usable from several threads."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            # A commit survives the death of this process; a power cut may undo the latest ones,
            # which are then asked for again.
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA busy_timeout=10000")
            # Values lie in the order they came, so that writing appends; only the index is random.
            self._db.execute("CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY, value BLOB)")
        except sqlite3.DatabaseError as error:
            raise SynthesisError(
                f"{path}: the store of answers can't be read ({error}); delete it to ask again"
            ) from None

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Any]:
        """The values that there are, decoded from JSON."""
        found: dict[bytes, Any] = {}
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), _MOST_PARAMETERS):
            some = wanted[start : start + _MOST_PARAMETERS]
            marks = ",".join("?" * len(some))
            with self._lock:
                rows = self._db.execute(
                    f"SELECT key, value FROM kept WHERE key IN ({marks})", some
                ).fetchall()
            found.update((key, orjson.loads(value)) for key, value in rows)
        return found

    def put(self, records: Iterable[tuple[bytes, Any]]) -> None:
        """Commit values, which are JSON. A key that is there already keeps its value."""
        encoded = [(key, canonical(value)) for key, value in records]
        if not encoded:
            return
        try:
            with self._lock, self._db:
                self._db.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?)", encoded)
        except sqlite3.Error as error:  # the disk is full, or somebody else holds the file
            raise SynthesisError(
                f"{self.path}: answers can't be kept ({error}); mend that, and the same command "
                "goes on from what was kept"
            ) from None

    def __len__(self) -> int:
        with self._lock:
            return self._db.execute("SELECT COUNT(*) FROM kept").fetchone()[0]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
