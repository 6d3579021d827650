"""Training data from a model: one module a method, its prompts as text files in `prompts/`.

    synth.run("rejection_sampling", rows, engine, verifier=..., sampling=...)   a Synthesis
    synth.stream(...)                      the same part by part, for any number of rows
    synth.Store(path)                      keeps answers, so that none is asked for twice

`flow/` is the engine that all methods share, `text/` and `rows/` what several of them need, and
`decontamination/` takes out what overlaps with evaluation sets.
"""

from synth.flow.settings import Settings
from synth.flow.store import Store
from synth.flow.stream import Stream
from synth.methods import NAMES, checked_settings, get, identity, run, settings, stream
from synth.synthesis import Counts, Part, Reject, Synthesis, SynthesisError

__align_toolkit__ = True

__all__ = [
    "NAMES",
    "Counts",
    "Part",
    "Reject",
    "Settings",
    "Store",
    "Stream",
    "Synthesis",
    "SynthesisError",
    "checked_settings",
    "get",
    "identity",
    "run",
    "settings",
    "stream",
]
