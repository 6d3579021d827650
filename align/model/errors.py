"""What can be wrong with a model that a person names or describes."""

from align.errors import AlignError


class ModelConfigError(AlignError):
    """A model configuration that contradicts itself, or that this family cannot carry out."""


class CheckpointError(AlignError):
    """A checkpoint or model that is not of this family, or does not hold all of its weights."""
