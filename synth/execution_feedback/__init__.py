"""Execution feedback (Qwen2, arXiv 2407.10671 §4.2): a model writes programs and tests; running the
ones on the others decides.

A program reads standard input and writes standard output in any language of the sandbox, so the
tests of a problem serve all its languages, and programs of several languages check each other. A
row with an `entry_point` asks for that Python function, tested by arguments and return value.

Programs and tests of one model share its mistakes. So a test is kept only if its output, worked out
without a program in sight, is what most programs give, no two of them the same; kept tests must ask
for more than one output; and tests are settled before programs are judged by them (AutoIF,
2406.13542, has these two filters; Qwen2 publishes no thresholds).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from synth.execution_feedback import agreement, cases, programs, rows, running
from synth.execution_feedback.problem import Problem
from synth.flow.settings import Settings as Common
from synth.flow.window import Window
from synth.synthesis import SynthesisError
from verifiers.sandbox.languages import UnknownLanguage, get

METHOD = "execution_feedback"
VERSION = 1
SOURCES = ("prompts",)
OUTPUTS = ("sft", "preference", "prompts")
NEEDS = ("prompt",)
RUNS_CODE = True


@dataclass(frozen=True, kw_only=True)
class Settings(Common):
    """Settings of execution feedback."""

    output: Literal["sft", "preference", "prompts"] = "sft"
    """prompts: problems that a program solves, with the tests as `answer` for the verifier."""
    languages: Sequence[str] = ("python",)
    """Programming languages for rows without a column `language`."""
    languages_per_prompt: int = 1
    """How many of them each problem is solved in, drawn by its id."""
    samples: int = 8
    """Programs drawn for a problem in each of its languages."""
    judge: Any = None
    """Writes the tests; the model by default. Another one does not share its mistakes."""
    test_answers: int = 4
    """Answers with tests drawn for a problem."""
    tests_per_answer: int = 5
    """Tests asked for in each of them."""
    agreement: float = 0.5
    """A test is kept if more than this share of the programs give its output (AutoIF: 0.5)."""
    min_agreeing: int = 2
    """And at least so many of them."""
    min_tests: int = 5
    """Kept tests that a problem must have."""
    min_passed: float = 1.0
    """A program is right if it passes at least this share of the kept tests."""
    max_per_prompt: int | None = 1
    """sft: right programs kept of a problem in a language, best first; None keeps all."""
    pairs_per_prompt: int = 1
    """preference: pairs made of a problem in a language."""
    max_rejected_passed: float = 0.5
    """preference: a rejected program passes at most this share of the kept tests."""
    cpu_s: float = 5.0
    """Processor time that a program has for one test, in seconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(languages_per_prompt=1, samples=1, test_answers=1, tests_per_answer=1)
        self.at_least(min_agreeing=1, min_tests=1, max_per_prompt=1, pairs_per_prompt=1)
        # Of less than half, two outputs could have enough each.
        self.at_least(agreement=0.5, min_passed=0.5, max_rejected_passed=0.0, cpu_s=0.1)
        for name in ("agreement", "min_passed", "max_rejected_passed"):
            if getattr(self, name) > 1:
                raise SynthesisError(f"{name} is {getattr(self, name)}; give a share of at most 1")
        if self.max_rejected_passed >= self.min_passed:
            raise SynthesisError(
                f"max_rejected_passed is {self.max_rejected_passed}; give less than min_passed "
                f"({self.min_passed})"
            )
        if isinstance(self.languages, str) or not self.languages:
            raise SynthesisError(f"languages is {self.languages!r}; give a list of at least one")
        try:
            for name in self.languages:
                get(name)
        except UnknownLanguage as error:
            raise SynthesisError(f"languages: {error}") from None


def make(window: Window, settings: Settings) -> None:
    """Rows with the prompt as it was asked, and the columns of the problem.

    Besides: `language`; `tests`, as JSON that verifier `code` takes; `pass_rate`, the share of the
    distinct programs that pass.
    """
    problems = programs.problems(window, settings)
    programs.write(window, problems, settings)
    programs.check(window, problems)
    problems = [problem for problem in problems if _has_enough(window, problem, settings)]
    cases.write(window, problems, settings)
    running.run(window, problems, settings)
    for problem in problems:
        outputs = agreement.agreed(problem, settings)
        tests = agreement.keep_tests(window, problem, outputs)
        weak = agreement.too_weak(tests, settings)
        if weak:
            problem.settle(window, weak, "grade:untested")
        else:
            rows.keep(window, problem, tests, outputs, settings)


def _has_enough(window: Window, problem: Problem, settings: Settings) -> bool:
    """Whether there are programs enough to agree on anything."""
    if len(list(problem.running())) >= settings.min_agreeing:
        return True
    problem.settle(window, "solve:too_few_programs", "grade:untested")
    return False


def metrics(tallies: Mapping[str, int], settings: Settings) -> dict[str, float]:
    """Shares: `tests_kept`, and `passed/<language>` of the programs drawn in a language."""
    found = {}
    if tallies.get("tests"):
        found["tests_kept"] = tallies.get("tests_kept", 0) / tallies["tests"]
    for name, drawn in sorted(tallies.items()):
        kind, _, language = name.partition("/")
        if kind == "programs":
            found[f"passed/{language}"] = tallies.get(f"passed/{language}", 0) / drawn
    return found
