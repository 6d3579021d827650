"""Does a response follow its constraints: one by one, and all together."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from verifiers.instructions.case import UndetectableLanguage
from verifiers.instructions.table import CONSTRAINTS, bound
from verifiers.verdict import Verdict, VerifierError

STRICT = "strict"
LOOSE = "loose"

MAX_CHARS = 200_000
"""Longer responses follow nothing (`too_long`). That is some 50,000 tokens, more than any of these
constraints is about, and keeps the slowest checker under a second on hostile text."""


def check(
    response: str,
    constraints: Sequence[Mapping[str, Any]],
    *,
    mode: str = STRICT,
    prompt: str | None = None,
) -> list[Verdict]:
    """One verdict a constraint, in order (IFEval, 2311.07911).

    constraints: `{"id": "punctuation:no_comma", "kwargs": {...}}` each; kwargs may be left out.
    mode: "strict" takes the response as it is. "loose" also tries it without its first line, its
    last, and both, each of the four also without asterisks; one that follows is enough.
    prompt: what `combination:repeat_prompt` repeats where it has no `prompt_to_repeat`.
    Reasons: `followed`, `not_followed`, `empty_response`, `too_long`; with correct None
    `undetectable_language`. Raises VerifierError: an unknown constraint or mode, or an argument
    unknown, missing or of a wrong kind.
    """
    if mode not in (STRICT, LOOSE):
        raise VerifierError(f"mode is {mode!r}, and must be '{STRICT}' or '{LOOSE}'")
    tasks = [bound(constraint, prompt) for constraint in constraints]
    if not response.strip():
        return [Verdict(False, 0.0, "empty_response") for _ in tasks]
    if len(response) > MAX_CHARS:
        detail = f"{len(response)} characters, more than {MAX_CHARS}"
        return [Verdict(False, 0.0, "too_long", detail) for _ in tasks]
    versions = [response] if mode == STRICT else _loose_versions(response)
    return [_judged(versions, name, kwargs) for name, kwargs in tasks]


def verify(
    completion: str,
    reference: Any,
    *,
    instruction_id_list: Sequence[str] | None = None,
    kwargs: Sequence[Mapping[str, Any] | None] | str | None = None,
    mode: str | None = STRICT,
    prompt: Any = None,
    **columns: Any,
) -> Verdict:
    """Right only if all constraints are followed; score is the share of them that are.

    reference: a list of `{"id", "kwargs"}`, or that as JSON. Rows of the published files have
    `instruction_id_list` and `kwargs` instead (null arguments, as in the Hugging Face copy, count
    as not given); the reference is then not used. Thinking up to `</think>` is not part of the
    response. mode, prompt: as in `check`. Reasons as there, for all together; also correct None
    `unparsable_reference` for a row without constraints that can be read.
    """
    constraints = _constraints(reference, instruction_id_list, kwargs)
    if isinstance(constraints, str):
        return Verdict(None, 0.0, "unparsable_reference", constraints)
    text = prompt if isinstance(prompt, str) else None
    verdicts = check(_without_thinking(completion), constraints, mode=mode or STRICT, prompt=text)
    return _together([one["id"] for one in constraints], verdicts)


def _judged(versions: list[str], name: str, kwargs: dict[str, Any]) -> Verdict:
    """Followed in any version; if in none, the verdict on the first, the response as it is."""
    verdicts = []
    for version in versions:
        try:
            problem = CONSTRAINTS[name].checker(version, **kwargs)
        except UndetectableLanguage as error:
            verdicts.append(Verdict(None, 0.0, "undetectable_language", str(error)))
            continue
        if not problem:
            return Verdict(True, 1.0, "followed")
        verdicts.append(Verdict(False, 0.0, "not_followed", problem))
    return verdicts[0]


def _loose_versions(response: str) -> list[str]:
    lines = response.split("\n")
    shorter = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    versions = [response, *shorter]
    versions += [version.replace("*", "") for version in versions]
    return list(dict.fromkeys(version for version in versions if version.strip()))


def _together(names: list[str], verdicts: list[Verdict]) -> Verdict:
    followed = sum(verdict.correct is True for verdict in verdicts)
    wrong = [verdict for verdict in verdicts if verdict.correct is False]
    undecided = [verdict for verdict in verdicts if verdict.correct is None]
    if not wrong and not undecided:
        return Verdict(True, 1.0, "followed")
    problems = "; ".join(
        f"{name}: {verdict.detail or verdict.reason}"
        for name, verdict in zip(names, verdicts, strict=True)
        if not verdict.correct
    )
    detail = f"{followed} of {len(verdicts)} followed; {problems}"
    if wrong:
        return Verdict(False, followed / len(verdicts), wrong[0].reason, detail)
    return Verdict(None, 0.0, undecided[0].reason, detail)


def _constraints(
    reference: Any, ids: Sequence[str] | None, kwargs: Any
) -> list[dict[str, Any]] | str:
    """The row's constraints in one form, or what cannot be read."""
    try:
        if ids is None:
            found = json.loads(reference) if isinstance(reference, str) else reference
        else:
            arguments = json.loads(kwargs) if isinstance(kwargs, str) else kwargs
            pairs = zip(ids, arguments, strict=True)
            found = [{"id": name, "kwargs": one} for name, one in pairs]
        constraints = [
            {"id": str(one["id"]), "kwargs": dict(one.get("kwargs") or {})} for one in found
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return f"{type(error).__name__}: {error}"
    return constraints or "no constraints"


def _without_thinking(completion: str) -> str:
    """The text after the last `</think>`; thinking that never ends leaves nothing."""
    answer = completion.rpartition("</think>")[2].partition("<think>")[0]
    return answer.lstrip("\n") if "</think>" in completion else answer
