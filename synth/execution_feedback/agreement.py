"""Which tests are right, and which programs; the tests are settled first."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from synth.execution_feedback.cases import Case
from synth.execution_feedback.problem import Problem, Seen
from synth.flow.item import Item
from synth.flow.window import Window


def majority(outputs: Sequence[str | None], agreement: float, min_agreeing: int) -> str | None:
    """The output of at least `min_agreeing` programs that are more than a share `agreement` of all.

    None among the outputs is a program that came to none; it agrees with nobody.
    """
    counts = Counter(output for output in outputs if output is not None)
    if not counts:
        return None
    ((output, number),) = counts.most_common(1)
    enough = number >= min_agreeing and number > round(agreement * len(outputs), 9)
    return output if enough else None


def agreed(problem: Problem, settings: Any) -> dict[str, str | None]:
    """For each input the output that the programs agree on. Programs that come to an output on no
    input have no say."""
    voters = [
        seen for seen in problem.seen.values() if any(s.output is not None for s in seen.values())
    ]
    inputs = dict.fromkeys(test.value.input for test in problem.tests)
    return {
        given: majority(
            [seen[given].output for seen in voters], settings.agreement, settings.min_agreeing
        )
        for given in inputs
    }


def keep_tests(window: Window, problem: Problem, outputs: dict[str, str | None]) -> list[Item]:
    """The tests that say what the programs agree on; others are rejected."""
    kept = []
    for test in problem.tests:
        output = outputs[test.value.input]
        if output is None:
            window.reject(test, "test:no_majority")
        elif output != test.value.output:
            window.reject(test, "test:disagrees", f"most programs give {output[:200]!r}")
        else:
            kept.append(test)
    window.tally("tests_kept", len(kept))
    return kept


def too_weak(kept: Sequence[Item], settings: Any) -> str | None:
    """Why these tests can't tell a right program from a wrong one; None if they can."""
    if len(kept) < settings.min_tests:
        return "agree:too_few_tests"
    if len({test.value.output for test in kept}) < 2:
        return "agree:constant_output"  # a program that always says it would pass
    return None


def grade(seen: dict[str, Seen], cases: Sequence[Case]) -> tuple[float, str]:
    """The share of the tests that are passed, and the verdict on the first that is not."""
    verdicts = [_verdict(seen[case.input], case) for case in cases]
    passed = verdicts.count("accepted")
    return passed / len(cases), next((v for v in verdicts if v != "accepted"), "accepted")


def _verdict(seen: Seen, case: Case) -> str:
    return "wrong_answer" if seen.output not in (None, case.output) else seen.verdict
