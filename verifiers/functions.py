"""Verifier "function": the reference is Python code that judges the response, run in a sandbox.

For constraints that a model has written down as code (execution feedback, AutoIF, 2406.13542). Such
code is foreign like any other, and often broken; then nothing is known about the response.
"""

from typing import Any

from verifiers import code
from verifiers.code.programs import MAX_CHARS, answer_of
from verifiers.sandbox import Limits
from verifiers.verdict import Verdict, concurrent


@concurrent
def verify(
    completion: str,
    reference: str,
    *,
    function: str | None = "evaluate",
    limits: Limits | None = None,
    **columns: Any,
) -> Verdict:
    """Right if the reference's `evaluate(response)` returns True, wrong if it returns False.

    function: the name, if it is another one. The response is what follows the last `</think>`.
    Reasons: `followed`, `not_followed`, `empty_response`, `too_long`; with correct None
    `unparsable_reference` (no code), `not_bool`, and where the function did not return, the
    sandbox's verdict on it: `runtime_error`, `compile_error`, `time_cpu`, `unavailable`, ...
    Raises VerifierError if nothing isolates programs here.
    """
    if not isinstance(reference, str) or not reference.strip():
        return Verdict(None, 0.0, "unparsable_reference", f"{reference!r:.80} is no Python code")
    response = answer_of(completion).lstrip("\n")
    if not response.strip():
        return Verdict(False, 0.0, "empty_response")
    if len(response) > MAX_CHARS:
        detail = f"{len(response)} characters, more than {MAX_CHARS}"
        return Verdict(False, 0.0, "too_long", detail)
    function = function or "evaluate"  # a table of several tasks fills the column with None
    call = code.sandbox().call(reference, function, [response], limits=limits)
    if call.verdict != "accepted":
        return Verdict(None, 0.0, call.verdict, call.detail)
    if call.value is True:
        return Verdict(True, 1.0, "followed")
    if call.value is False:
        return Verdict(False, 0.0, "not_followed")
    detail = f"{function}() returned {call.value!r:.80}; let it return True or False"
    return Verdict(None, 0.0, "not_bool", detail)
