"""Warnings that the libraries give during a stage, kept for its manifest."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = ("transformers", "trl", "accelerate", "datasets", "align")
# Deprecations speak to this project's developers, not to the person who wrote the recipe.
NOT_FOR_USERS = (FutureWarning, DeprecationWarning, PendingDeprecationWarning)
# Said of every reward model: its head, and nothing else, is new.
NEW_HEAD = re.compile(r"LOAD REPORT from: .*\+- score\.weight \| MISSING \| Notes:")
COLOURS = re.compile("\x1b\\[[0-9;]*m")


class _Collector(logging.Handler):
    def __init__(self, notices: list[str]):
        super().__init__(logging.WARNING)
        self.notices = notices

    def emit(self, record: logging.LogRecord) -> None:
        _add(self.notices, record.getMessage())


def _add(notices: list[str], message: str) -> None:
    message = " ".join(COLOURS.sub("", message).split())
    if message not in notices and not NEW_HEAD.search(message):
        notices.append(message)


@contextmanager
def collected() -> Iterator[list[str]]:
    """A list that fills with each distinct warning; nothing of it is printed meanwhile."""
    notices: list[str] = []
    collector = _Collector(notices)
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [collector], False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            for category in NOT_FOR_USERS:
                warnings.simplefilter("ignore", category)
            warnings.showwarning = lambda message, *_, **__: _add(notices, str(message))
            yield notices
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
