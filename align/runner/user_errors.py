"""The errors that are a user's mistake, from every room."""

from align.errors import AlignError
from rewards import RewardError
from synth import SynthesisError
from verifiers import VerifierError
from verifiers.loading import SpecError

USER_ERRORS = (AlignError, RewardError, SynthesisError, VerifierError, SpecError)
