"""Sampling from a model behind one interface.

`Engine`, `Sampling` and `Completion` import without torch; `LocalEngine` brings torch in, the other
engines what they need, when they are first named.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from align.generate.engine import Completion, Conversation, Engine, Failure, Progress, Sampling
from align.generate.errors import GenerationError
from align.generate.replay import ReplayEngine

if TYPE_CHECKING:
    from align.generate.local import LocalEngine
    from align.generate.server import ServerEngine
    from align.generate.vllm_engine import VllmEngine

__all__ = [
    "Completion",
    "Conversation",
    "Engine",
    "Failure",
    "GenerationError",
    "LocalEngine",
    "Progress",
    "ReplayEngine",
    "Sampling",
    "ServerEngine",
    "VllmEngine",
]

_LATER = {"LocalEngine": "local", "ServerEngine": "server", "VllmEngine": "vllm_engine"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"align.generate.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
