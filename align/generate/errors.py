"""Errors of sampling."""

from align.errors import AlignError


class GenerationError(AlignError):
    """A model, tokenizer, prompt or server that cannot be sampled from."""
