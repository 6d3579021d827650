"""Completions kept on disk, so that a killed generation goes on where it was."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from align.generate.engine import Completion, Conversation, Sampling

logger = logging.getLogger(__name__)

VERSION = 2
"""Raised whenever the same request would be answered differently or stored in another form."""


def request_key(engine: str, prompt: Conversation, *, n: int, sampling: Sampling, seed: int) -> str:
    """sha256 (hex) of all that decides an answer; `engine` names weights and precision."""
    asked = {
        "version": VERSION,
        "engine": engine,
        "prompt": prompt,
        "n": n,
        "sampling": asdict(sampling),
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class CompletionCache:
    """An append-only JSONL file, one request a line. One writer at a time.

    `append` returns when the lines are on the disk. A line that a crash left torn is cut off and
    announced when the file is next opened; a whole line that cannot be read is skipped and
    announced likewise. Both are asked again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, list[Completion]]:
        """Completions by request key; empty if there is no file yet."""
        if not self.path.exists():
            return {}
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            # Cut, for the next append would otherwise continue the torn line and spoil a good one.
            os.truncate(self.path, whole)
        known: dict[str, list[Completion]] = {}
        unreadable = int(whole < len(content))
        for line in content[:whole].splitlines():
            try:
                record = json.loads(line)
                known[record["key"]] = [_completion(fields) for fields in record["completions"]]
            except (ValueError, KeyError, TypeError):
                unreadable += 1
        if unreadable:
            logger.warning(
                "%s: ignored %d unreadable line(s) of %d; those requests are generated again",
                self.path,
                unreadable,
                unreadable + len(known),
            )
        return known

    def append(self, answers: Iterable[tuple[str, list[Completion]]]) -> None:
        """Add the answers of one chunk."""
        lines = [
            json.dumps({"key": key, "completions": [asdict(c) for c in completions]}) + "\n"
            for key, completions in answers
        ]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())


def _completion(fields: dict[str, Any]) -> Completion:
    return Completion(
        text=fields["text"],
        token_ids=tuple(fields["token_ids"]),
        logps=tuple(fields["logps"]),
        finish_reason=fields["finish_reason"],
        num_tokens=fields["num_tokens"],
    )
