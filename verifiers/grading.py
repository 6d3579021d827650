"""Apply a verifier to one completion of one data row, for rewards and synthesis alike."""

from collections.abc import Callable, Mapping
from typing import Any

from verifiers.verdict import Verdict, VerifierError

REFERENCE = "answer"
"""The column that holds the reference."""

# `completion` and `reference` are the verifier's own arguments; `answer` is passed as `reference`.
_NOT_COLUMNS = {REFERENCE, "completion", "reference"}


def grade(verifier: Callable[..., Verdict], completion: str, row: Mapping[str, Any]) -> Verdict:
    """The verdict on `completion` against `row["answer"]`; other columns are keyword arguments.

    A verifier that raises gives None with reason `verifier_error`: one odd completion must not end
    a run. Raises VerifierError where no completion could be judged: no reference column, a
    verifier that says so itself, or one that does not return a Verdict.
    """
    name = getattr(verifier, "__qualname__", type(verifier).__name__)
    if REFERENCE not in row:
        raise VerifierError(
            f"verifier '{name}' needs the column '{REFERENCE}', and the data have only: "
            f"{', '.join(sorted(row)) or 'none'}; rename yours to '{REFERENCE}'"
        )
    columns = {key: value for key, value in row.items() if key not in _NOT_COLUMNS}
    try:
        verdict = verifier(completion, row[REFERENCE], **columns)
    except VerifierError:
        raise
    except Exception as error:
        return Verdict(None, 0.0, "verifier_error", f"{type(error).__name__}: {error}")
    if not isinstance(verdict, Verdict):
        raise VerifierError(
            f"verifier '{name}' returned {type(verdict).__name__}; return a verifiers.Verdict"
        )
    return verdict
