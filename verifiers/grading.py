"""Apply a verifier to completions of data rows, for rewards and synthesis alike."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    name = _name_of(verifier)
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
    except ImportError as error:  # the same for every row
        raise VerifierError(f"verifier '{name}' can't be used: {error}; install it") from error
    except Exception as error:
        return Verdict(None, 0.0, "verifier_error", f"{type(error).__name__}: {error}")
    if not isinstance(verdict, Verdict):
        raise VerifierError(
            f"verifier '{name}' returned {type(verdict).__name__}; return a verifiers.Verdict"
        )
    return verdict


def grade_all(
    verifier: Callable[..., Verdict], completions: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> list[Verdict]:
    """The verdict on each completion against its own row, in order.

    A verifier marked `concurrent` is called from several threads. Raises ValueError if there is not
    one row a completion, and what `grade` raises.
    """
    if len(completions) != len(rows):
        raise ValueError(f"{len(completions)} completions, but {len(rows)} rows")
    pairs = list(zip(completions, rows, strict=True))
    if not getattr(verifier, "concurrent", False) or len(pairs) < 2:
        return [grade(verifier, *pair) for pair in pairs]
    with ThreadPoolExecutor(min(len(pairs), 2 * (os.cpu_count() or 1))) as threads:
        return list(threads.map(lambda pair: grade(verifier, *pair), pairs))


def _name_of(verifier: Callable[..., Verdict]) -> str:
    """All of ours are called `verify`; the module tells them apart."""
    room, _, rest = getattr(verifier, "__module__", "").partition(".")
    own = getattr(verifier, "__qualname__", type(verifier).__name__)
    return rest.partition(".")[0] if room == "verifiers" else own
