"""Run attacks in a sandbox, several at a time, and judge what came of them."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from verifiers.sandbox import Execution, Sandbox, Test

from .attack import Attack
from .grading import Hostile
from .host import Host


@dataclass(frozen=True)
class Outcome:
    """problem: why this is not what it should be; "" if it is. skipped: why it did not run."""

    number: float
    title: str
    expected: tuple[str, ...]
    verdict: str
    problem: str = ""
    skipped: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def run_all(
    sandbox: Sandbox, host: Host, attacks: Iterable[Attack | Hostile]
) -> dict[float, Outcome]:
    def one(attack: Attack | Hostile) -> Outcome:
        run = attempt if isinstance(attack, Attack) else grade
        return run(sandbox, host, attack)

    with ThreadPoolExecutor(sandbox.workers) as threads:
        return {outcome.number: outcome for outcome in threads.map(one, attacks)}


def attempt(sandbox: Sandbox, host: Host, attack: Attack) -> Outcome:
    expected = attack.expected
    if sandbox.isolation.level < 3:
        expected |= attack.without_cgroup
    if attack.machine not in ("", os.uname().machine):
        return _skip(attack, expected, f"is for {attack.machine}")
    tests = [
        Test(str(index), attack.stdin, args=(host.argument,)) for index in range(attack.num_tests)
    ]
    execution = sandbox.run(
        attack.language,
        attack.program.replace("@SECRET@", str(host.told["secret"])),
        tests=tests,
        limits=attack.limits,
        compile_limits=attack.compile_limits,
    )
    if execution.verdict == "unavailable":
        return _skip(attack, expected, execution.detail)
    problem = _breach(execution, host) or _unexpected(execution, expected)
    return _outcome(attack, expected, execution.verdict, problem)


def grade(sandbox: Sandbox, host: Host, hostile: Hostile) -> Outcome:
    """Let unit tests judge a solution; that they are not fooled is all that is asked."""
    execution = sandbox.examine(hostile.solution, [hostile.test], "double", call="check(candidate)")
    problem = _breach(execution, host)
    if not problem and not execution.decided:
        problem = f"undecided: {execution.verdict} {execution.detail}"
    if not problem and execution.accepted != hostile.merit:
        problem = f"{execution.verdict}: {execution.detail}"
    expected = ("accepted",) if hostile.merit else ("not accepted",)
    return _outcome(hostile, expected, execution.verdict, problem)


def _breach(execution: Execution, host: Host) -> str:
    for step in (*execution.steps, *execution.tests):
        for output in (step.stdout, step.stderr):
            for line in output.text.splitlines():
                if line.startswith("BREACH:"):
                    return line[:300]
            if host.token in output.text:
                return "the secret is in the output"
    return ""


def _unexpected(execution: Execution, expected: frozenset[str]) -> str:
    """What is wrong with the verdicts: each test's, if the program ran several times."""
    for step in execution.tests or (execution,):
        if step.verdict not in expected:
            errors = execution.last.stderr.text.strip()[-300:] if execution.last else ""
            return f"{step.verdict}: {step.detail} {errors}".strip()
    return ""


def _skip(attack: Attack, expected: Iterable[str], reason: str) -> Outcome:
    return Outcome(attack.number, attack.title, tuple(sorted(expected)), "", skipped=reason)


def _outcome(
    attack: Attack | Hostile, expected: Iterable[str], verdict: str, problem: str
) -> Outcome:
    return Outcome(attack.number, attack.title, tuple(sorted(expected)), verdict, problem)
