"""Verifier "format": whether a completion has the form asked for, whatever it says in it.

    {"kind": "think"}                            <think>...</think> and then an answer
    {"kind": "think", "answer_tag": "answer"}    <think>...</think><answer>...</answer>
    {"kind": "json", "schema": {...}}            nothing but JSON, valid by the schema
    {"kind": "json", "fenced": true}             text with exactly one ```json block

The spec stands in the column `format`, as a dict or JSON, or else in the reference. A schema is
read by JSON Schema 2020-12, with its formats checked; nothing is ever fetched. Completions may be
hostile, schemas may not: a `pattern` that takes exponential time is not stopped.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from verifiers.strict_json import StrictJSONError, loads
from verifiers.suggest import did_you_mean
from verifiers.verdict import Verdict, VerifierError

JSON_CHARS = 20_000
"""Longer JSON is wrong unread: an innocent `pattern` or `uniqueItems` may take quadratic time, and
that is five seconds for this much."""

THINK_CHARS = 1_000_000
"""Longer completions are wrong unread; about 250,000 tokens."""

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_KEYS = {
    "think": {"kind", "answer_tag", "allow_empty_think"},
    "json": {"kind", "schema", "fenced"},
}
_FENCE = re.compile(r"^[ \t]{0,3}```[ \t]*(?P<language>[^\s`]*)[^\n`]*$", re.MULTILINE)


def verify(
    completion: str,
    reference: Any = None,
    *,
    format: str | dict[str, Any] | None = None,
    **columns: Any,
) -> Verdict:
    """Whether `completion` has the form of the spec: the column `format`, or else the reference.

    `allow_empty_think` in a think spec lets the block be blank. Reasons: `well_formed`, or what is
    wrong: `missing_think`, `text_before_think`, `unclosed_think`, `unopened_think`,
    `duplicate_think`, `nested_think`, `empty_think`, the same of `answer`, `text_between_tags`,
    `text_after_answer`; `not_json`, `duplicate_key`, `too_deep`, `missing_fence`,
    `several_fences`, `violates_schema`; `too_long`. Raises VerifierError for a spec or schema that
    can't be used.
    """
    spec = _spec(reference if format is None else format)
    if spec["kind"] == "think":
        return _think(completion, spec.get("answer_tag"), bool(spec.get("allow_empty_think")))
    return _json(completion, spec.get("schema", True), bool(spec.get("fenced")))


def _spec(given: Any) -> dict[str, Any]:
    spec = given
    if isinstance(given, str):
        try:
            spec = loads(given)
        except StrictJSONError as error:
            raise VerifierError(f"format {given[:80]!r} is no JSON: {error}") from None
    if not isinstance(spec, dict) or spec.get("kind") not in _KEYS:
        raise VerifierError(
            f"format is {given!r:.80}; give a dict whose kind is one of {', '.join(_KEYS)}, in the "
            "column 'format' or as the reference"
        )
    # A table of many rows fills the keys that a row does not have with None.
    spec = {key: value for key, value in spec.items() if value is not None}
    for key in spec:
        if key not in _KEYS[spec["kind"]]:
            hint = did_you_mean(key, _KEYS[spec["kind"]])
            raise VerifierError(f"format of kind '{spec['kind']}' has no key '{key}'{hint}")
    return spec


# --- tags ---


def _think(text: str, answer_tag: str | None, allow_empty: bool) -> Verdict:
    if answer_tag is not None and not re.fullmatch(r"[A-Za-z][\w-]{0,40}", str(answer_tag)):
        raise VerifierError(f"answer_tag is {answer_tag!r}; give a name such as 'answer'")
    if len(text) > THINK_CHARS:
        return Verdict(False, 0.0, "too_long", f"{len(text)} characters")
    text = text.strip()
    problem = next(_tag_problems(text, answer_tag, allow_empty), None)
    return Verdict(False, 0.0, problem) if problem else Verdict(True, 1.0, "well_formed")


def _tag_problems(text: str, answer_tag: str | None, allow_empty: bool) -> Iterator[str]:
    """What is wrong, the most basic first."""
    tags = {"think": "think"} | ({"answer": answer_tag} if answer_tag else {})
    for role, tag in tags.items():
        problem = _pair_problem(text, f"<{tag}>", f"</{tag}>")
        if problem:
            yield f"{problem}_{role}"
    before, _, rest = text.partition("<think>")
    thought, _, rest = rest.partition("</think>")
    if before:
        yield "text_before_think"
    if not thought.strip() and not allow_empty:
        yield "empty_think"
    if answer_tag:
        if f"<{answer_tag}>" in thought:
            yield "nested_answer"
        between, _, rest = rest.partition(f"<{answer_tag}>")
        rest, _, after = rest.partition(f"</{answer_tag}>")
        if between.strip():
            yield "text_between_tags"
        if after:
            yield "text_after_answer"
    if not rest.strip():
        yield "empty_answer"


def _pair_problem(text: str, opening: str, closing: str) -> str | None:
    num_open, num_closed = text.count(opening), text.count(closing)
    if num_open == 0:
        return "unopened" if num_closed else "missing"
    if num_closed == 0:
        return "unclosed"
    first_close = text.find(closing)
    if text.find(opening) > first_close:
        return "unopened"
    if num_open > 1:
        return "nested" if text.find(opening, text.find(opening) + 1) < first_close else "duplicate"
    return "duplicate" if num_closed > 1 else None


# --- JSON ---


def _json(completion: str, schema: Any, fenced: bool) -> Verdict:
    validator = _validator(json.dumps(schema, sort_keys=True))
    if len(completion) > JSON_CHARS:
        return Verdict(False, 0.0, "too_long", f"{len(completion)} characters")
    text = completion
    if fenced:
        blocks = list(_json_blocks(completion))
        if len(blocks) != 1:
            return Verdict(False, 0.0, "several_fences" if blocks else "missing_fence")
        text = blocks[0]
    try:
        value = loads(text)
        problem = _violation(validator, value)
    except StrictJSONError as error:
        return Verdict(False, 0.0, error.reason, str(error)[:300])
    except RecursionError:
        return Verdict(False, 0.0, "too_deep")
    if problem:
        return Verdict(False, 0.0, "violates_schema", problem)
    return Verdict(True, 1.0, "well_formed")


def _json_blocks(text: str) -> Iterator[str]:
    fences = _FENCE.finditer(text)
    for opening in fences:
        closing = next(fences, None)
        if closing is not None and opening["language"].casefold() == "json":
            yield text[opening.end() : closing.start()]


def _violation(validator: Any, value: Any) -> str | None:
    from referencing.exceptions import Unresolvable

    try:
        error = next(validator.iter_errors(value), None)
    except Unresolvable as unresolved:
        raise VerifierError(
            f"the schema needs {unresolved.ref!r}, which is not in it, and nothing is fetched; put "
            "it under $defs"
        ) from None
    return None if error is None else f"{error.json_path}: {error.message}"[:300]


@lru_cache(maxsize=256)
def _validator(schema_json: str) -> Any:
    import jsonschema
    from jsonschema.validators import Draft202012Validator, extend
    from referencing import Registry

    schema = json.loads(schema_json)
    draft = schema.get("$schema", DRAFT) if isinstance(schema, dict) else DRAFT
    if str(draft).rstrip("#") != DRAFT:
        raise VerifierError(f"the schema is of {draft}; only {DRAFT} is read")
    try:
        Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        where = f"{error.json_path}: {error.message}"[:300]
        raise VerifierError(f"the schema is not valid, at {where}") from None
    checked = extend(Draft202012Validator, {"format": _check_format})
    return checked(schema, registry=Registry())  # an empty registry fetches nothing


def _check_format(validator: Any, name: Any, value: Any, schema: Any) -> Iterator[Any]:
    """An unknown format would otherwise pass whatever stands there."""
    import jsonschema

    checker = validator.FORMAT_CHECKER
    if name not in checker.checkers:
        raise VerifierError(
            f"the schema's format '{name}' can't be checked{did_you_mean(name, checker.checkers)}; "
            "some formats need `pip install 'jsonschema[format-nongpl]'`"
        )
    try:
        checker.check(value, name)
    except jsonschema.FormatError as error:
        yield jsonschema.ValidationError(error.message, cause=error.cause)
