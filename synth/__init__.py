"""Training data from a model: one module a method.

synth.run("rejection_sampling", prompts, engine, verifier=..., sampling=...) -> Synthesis
"""

from synth.methods import run, settings
from synth.synthesis import Synthesis, SynthesisError

__align_toolkit__ = True

__all__ = ["Synthesis", "SynthesisError", "run", "settings"]
