"""Sampling from a model behind one interface.

`Engine`, `Sampling` and `Completion` import without torch; `LocalEngine` brings torch in when it is
first named.
"""

from typing import TYPE_CHECKING, Any

from align.generate.engine import Completion, Conversation, Engine, Progress, Sampling

if TYPE_CHECKING:
    from align.generate.local import LocalEngine

__all__ = ["Completion", "Conversation", "Engine", "LocalEngine", "Progress", "Sampling"]


def __getattr__(name: str) -> Any:
    if name == "LocalEngine":
        from align.generate.local import LocalEngine

        return LocalEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
