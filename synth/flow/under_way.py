"""What one window is asking for, another that wants the same waits for."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any


class UnderWay:
    """Keys that are being asked for, and what will be known of them. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited_for: dict[bytes, Future[Any]] = {}

    @contextmanager
    def claimed(
        self, keys: Iterable[bytes]
    ) -> Iterator[tuple[dict[bytes, Any], dict[bytes, Future[Any]]]]:
        """A dict to fill in for the keys that are the caller's to ask, each with None to begin
        with, and what others will know of the rest.

        What is in the dict at the end is known to whoever waits; what the body raises is raised
        there too.
        """
        with self._lock:
            theirs = {key: self._waited_for[key] for key in keys if key in self._waited_for}
            mine: dict[bytes, Future[Any]] = {key: Future() for key in keys if key not in theirs}
            self._waited_for.update(mine)
        found: dict[bytes, Any] = dict.fromkeys(mine)
        try:
            yield found, theirs
        except BaseException as error:
            for future in mine.values():
                future.set_exception(error)
            raise
        else:
            for key, future in mine.items():
                future.set_result(found[key])
        finally:
            with self._lock:
                for key in mine:
                    del self._waited_for[key]


def waited(futures: Mapping[bytes, Future[Any]]) -> dict[bytes, Any]:
    """What the others found. Raises what they raised."""
    return {key: future.result() for key, future in futures.items()}
