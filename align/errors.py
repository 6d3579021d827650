"""The base of all errors that are the user's to mend."""


class AlignError(ValueError):
    """A mistake in what the user gave us, shown as a few lines without a traceback (exit code 2).

    The message says where (file, line or row), what was wrong, and what to do.
    """
