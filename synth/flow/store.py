"""Answers and executions on disk, so that none is asked for twice.

A record is visible once it is committed, and a crash tears none. Errors are never put in.
"""

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


def key_prefix(**decides: Any) -> Any:
    """A hash of what many keys have in common; `key` goes on from it. Values are JSON."""
    decides["version"] = VERSION
    return blake2b(orjson.dumps(decides, option=orjson.OPT_SORT_KEYS), digest_size=16)


def key(prefix: Any, asked: bytes) -> bytes:
    """16 bytes. `asked`: canonical JSON of what this one request or execution is about."""
    digest = prefix.copy()
    digest.update(b"\0" + asked)
    return digest.digest()


class Store:
    """Values by key, in an SQLite file; in memory without a path. Usable from several threads."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
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
        encoded = [(key, orjson.dumps(value)) for key, value in records]
        if not encoded:
            return
        with self._lock, self._db:
            self._db.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?)", encoded)

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
