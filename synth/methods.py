"""Synthesis methods by name.

A method is a module of this package with
    METHOD, VERSION     its name, and a number raised when the same answers would give other rows
    SOURCES             what it may start from: "prompts", "data" or "corpus"
    OUTPUTS             what it can make: "sft", "preference", "prompts"
    NEEDS               columns that a source row must have beside `id`
    RUNS_CODE           True if it needs the sandbox, whatever the verifier; may be left out
    Settings            a subclass of `synth.flow.settings.Settings`
    make(window, settings)              what becomes of the rows of one window
    select(rows, settings)              optional: a choice among all rows, a `Selection`
    metrics(tallies, settings)          optional: numbers of the whole set, from what it tallied
"""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import fields
from hashlib import blake2b
from importlib import import_module
from typing import Any

from synth.flow.store import Store
from synth.flow.stream import Stream, Watch, check_rows
from synth.flow.templates import PROMPTS
from synth.synthesis import Part, Row, Synthesis, SynthesisError
from verifiers.suggest import did_you_mean

NAMES = (
    "back_translation",
    "constitutional",
    "cross_lingual",
    "evolve",
    "execution_feedback",
    "filter",
    "instruction_verification",
    "logic",
    "long_cot",
    "rejection_sampling",
    "role_play",
    "system_prompts",
    "tables",
    "tag_and_select",
)


def get(name: str) -> Any:
    """A method's module. Raises SynthesisError for an unknown name."""
    if name not in NAMES:
        raise SynthesisError(f"unknown synthesis method '{name}'{did_you_mean(name, NAMES)}")
    return import_module(f"synth.{name}")


def identity(method: str) -> str:
    """Hex digest of the method's VERSION and its prompt files: what its meaning depends on."""
    digest = blake2b(str(get(method).VERSION).encode(), digest_size=16)
    for path in sorted((PROMPTS / method).glob("*")):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def settings(method: str) -> type:
    """The frozen dataclass of a method's settings. Raises SynthesisError for an unknown method."""
    return get(method).Settings


def checked_settings(method: str, chosen: Mapping[str, Any]) -> Any:
    """The method's settings. Raises SynthesisError for an unknown one, or a value out of range."""
    module = get(method)
    known = [field.name for field in fields(module.Settings)]
    for name in chosen:
        if name not in known:
            raise SynthesisError(f"{method} has no setting '{name}'{did_you_mean(name, known)}")
    try:
        return module.Settings(**chosen)
    except TypeError as error:  # a setting without a default was not given
        raise SynthesisError(f"{method}: {error}") from None
    except SynthesisError as error:
        raise SynthesisError(f"{method}: {error}") from None


def stream(
    method: str,
    rows: Iterable[Row],
    engine: Any,
    *,
    num_rows: int | None = None,
    store: Store | None = None,
    watch: Watch | None = None,
    decontamination: Any = None,
    **chosen: Any,
) -> Stream:
    """Like `run`, part by part, in memory that does not grow with the number of rows."""
    module, filled = get(method), checked_settings(method, chosen)
    if num_rows is None and isinstance(rows, Sized):
        num_rows = len(rows)
    return Stream(
        module,
        check_rows(rows, module.NEEDS),
        engine,
        filled,
        num_rows=num_rows,
        store=store,
        watch=watch,
        decontamination=decontamination,
    )


def run(
    method: str,
    rows: Iterable[Row],
    engine: Any,
    *,
    store: Store | None = None,
    decontamination: Any = None,
    **chosen: Any,
) -> Synthesis:
    """Make rows from `rows` by `method`, asking `engine` (`align.generate.Engine`).

    store: what it holds is not asked again, and what is asked is kept in it; one in memory by
    default. decontamination: a `synth.decontamination.Evaluations`; rows that overlap with it are
    rejected as `contaminated`. Raises SynthesisError for an unknown method or setting, a value
    out of range, a row that lacks a column, and too many failed requests.
    """
    going = stream(method, rows, engine, store=store, decontamination=decontamination, **chosen)
    parts: list[Part] = list(going)
    made = [row for part in parts for row in part.rows]
    rejects = [reject for part in parts for reject in part.rejects]
    return Synthesis(made, rejects, going.counts, going.metrics)
