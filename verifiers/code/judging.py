"""The verdict on a program, from what the sandbox says of each test."""

import re
import threading
from collections.abc import Sequence
from typing import Any

from verifiers.code import unit_tests
from verifiers.code.programs import MAX_CHARS, answer_of, defines, extract, parsed
from verifiers.code.unit_tests import FunctionTests, UnreadableTests
from verifiers.sandbox import Execution, Limits, Sandbox, SandboxUnavailable, Step, Test
from verifiers.sandbox.execution import UNDECIDED
from verifiers.sandbox.languages import UnknownLanguage, get
from verifiers.verdict import Verdict, VerifierError, concurrent

_FUTURE = re.compile(r"^from __future__ import [^\n]*\n?", re.MULTILINE)
_EXCERPT_CHARS = 120

_lock = threading.Lock()
_shared: Sandbox | None = None


@concurrent
def verify(
    completion: str,
    reference: Any,
    *,
    language: str | None = "python",
    entry_point: str | None = None,
    test: Any = None,
    prompt: Any = None,
    setup: str | None = None,
    limits: Limits | None = None,
    **columns: Any,
) -> Verdict:
    """Grade the program in the completion (see `extract`) as `grade` does.

    reference: the tests, in any form that `grade` takes; `test` goes before it, for rows whose
    answer is a model solution (HumanEval's `canonical_solution`). A completion without a program in
    it may also be the body of the function that `prompt` breaks off in, as base models give it.
    More reasons: `no_code`, `too_long`.
    """
    language = language or "python"  # a table of several tasks fills the column with None
    try:
        tests = unit_tests.read(
            reference if test is None else test,
            entry_point=entry_point,
            prompt=prompt,
            setup=setup,
        )
        get(language)
    except UnreadableTests as error:
        return Verdict(None, 0.0, "unparsable_reference", str(error))
    except UnknownLanguage as error:
        return Verdict(None, 0.0, "unavailable", str(error))
    answer = answer_of(completion)
    if len(answer) > MAX_CHARS:
        return _too_long(answer)
    is_function = isinstance(tests, FunctionTests)
    program = extract(answer, language, entry_point=tests.entry_point if is_function else None)
    if program is None and is_function and _is_body(answer, tests.prompt):
        program = answer
    if program is None:
        return Verdict(False, 0.0, "no_code")
    return _graded(program, tests, language, None, limits)


def grade(
    program: str,
    tests: Any,
    *,
    language: str = "python",
    entry_point: str | None = None,
    prompt: str | None = None,
    setup: str | None = None,
    sandbox: Sandbox | None = None,
    limits: Limits | None = None,
) -> Verdict:
    """Right if the program passes all tests; score is the share of them that it passes.

    tests: Python functions are tested by a HumanEval `check` (with entry_point) or by assert
    statements, programs in any language by {"input", "output"}; `unit_tests.read` has all forms.
    prompt: source that the program may lean on, or may be the rest of. setup: code before the
    tests. What a function takes and returns must be plain data: numbers, text, lists and the like.
    sandbox: the shared one by default. limits: for each test.

    Reasons: the sandbox's verdict on the first test that failed (`wrong_answer`, `time_cpu`, ...)
    or `accepted`; with correct None `unavailable`, `sandbox_error`, `harness_error` (broken tests)
    and `unparsable_reference`. Raises VerifierError: nothing isolates programs here, or `check`
    without entry_point.
    """
    try:
        found = unit_tests.read(tests, entry_point=entry_point, prompt=prompt, setup=setup)
    except UnreadableTests as error:
        return Verdict(None, 0.0, "unparsable_reference", str(error))
    return _graded(program, found, language, sandbox, limits)


def sandbox() -> Sandbox:
    """The one that all grading in this process shares; made when first needed.

    Raises VerifierError where nothing isolates well enough.
    """
    global _shared
    with _lock:
        if _shared is None:
            try:
                _shared = Sandbox()
            except SandboxUnavailable as error:
                raise VerifierError(f"there is no sandbox to run code in: {error}") from error
        return _shared


def use(sandbox: Sandbox | None) -> None:
    """Share this sandbox from now on; None for a new one. The one before is not closed."""
    global _shared
    with _lock:
        _shared = sandbox


def _graded(
    program: str,
    tests: FunctionTests | tuple[Test, ...],
    language: str,
    where: Sandbox | None,
    limits: Limits | None,
) -> Verdict:
    if len(program) > MAX_CHARS:
        return _too_long(program)
    where = where or sandbox()
    if not isinstance(tests, FunctionTests):
        execution = where.run(language, program, tests=tests, limits=limits)
        return _verdict(execution, [test.expected_stdout for test in tests])
    if not _is_python(language):
        detail = f"assert statements test Python functions, and the language is '{language}'"
        return Verdict(None, 0.0, "unparsable_reference", detail)
    execution = where.examine(
        _with_prompt(program, tests),
        tests.tests,
        tests.entry_point,
        setup=tests.setup,
        call=tests.call,
        limits=limits,
    )
    return _verdict(execution, [None] * len(tests.tests))


def _is_python(language: str) -> bool:
    python = get("python")
    return language.lower() in (python.name, *python.aliases)


def _too_long(text: str) -> Verdict:
    return Verdict(False, 0.0, "too_long", f"{len(text)} characters, more than {MAX_CHARS}")


def _is_body(text: str, prompt: str) -> bool:
    is_indented = text.lstrip("\n")[:1] in (" ", "\t")
    return is_indented and bool(prompt) and parsed(prompt + text) is not None


def _with_prompt(program: str, tests: FunctionTests) -> str:
    """A whole function goes below the prompt, whose stub it replaces; a body continues it."""
    if not tests.prompt:
        return program
    if not defines(program, tests.entry_point):
        return tests.prompt + program
    futures = "".join(_FUTURE.findall(program))  # valid at the top only
    return f"{futures}{tests.prompt}\n\n{_FUTURE.sub('', program)}"


def _verdict(execution: Execution, expected: Sequence[str | None]) -> Verdict:
    """expected: the output of each test, None where it is not compared here."""
    if len(execution.tests) != len(expected):  # nothing ran
        return Verdict(None, 0.0, execution.verdict, execution.detail)
    verdicts = [step.verdict for step in execution.tests]
    failed = [i for i, verdict in enumerate(verdicts) if verdict not in {"accepted", *UNDECIDED}]
    undecided = [i for i, verdict in enumerate(verdicts) if verdict in UNDECIDED]
    if not failed and not undecided:
        return Verdict(True, 1.0, "accepted")
    first = (failed or undecided)[0]
    if execution.stage == "compile":
        what = execution.last.stderr.text.strip()[:_EXCERPT_CHARS]  # the first error is the cause
    else:
        what = f"test {first + 1}: {_what(execution.tests[first], expected[first])}"
    num_passed = verdicts.count("accepted")
    detail = f"{num_passed} of {len(verdicts)} tests passed; {what}"
    if failed:
        return Verdict(False, num_passed / len(verdicts), verdicts[first], detail)
    return Verdict(None, 0.0, verdicts[first], detail)


def _what(step: Step, expected: str | None) -> str:
    if step.verdict == "wrong_answer" and expected is not None:
        return f"printed {_end(step.stdout.text)!r} instead of {_end(expected)!r}"
    return "; ".join(filter(None, (step.detail, _end(step.stderr.text))))


def _end(text: str) -> str:
    """The last of it, where error messages have their point."""
    return text.strip()[-_EXCERPT_CHARS:]
