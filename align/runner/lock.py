"""One run folder, one run: a lock that the system releases when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from align.errors import AlignError

HOLDER = "ALIGN_RUN_LOCKED_BY"  # set for the processes that a run launches itself


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder. Raises AlignError if another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip()
            if holder and holder == os.environ.get(HOLDER):
                yield
                return
            raise AlignError(
                f"{folder} is in use by another run (process {holder or 'unknown'}); "
                "wait for it, stop it, or choose another folder with --runs"
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
