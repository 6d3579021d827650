"""Functions and cases check each other (§3.2): first the cases are settled, then the functions.

The two filters do not commute: a function is measured by the cases that are left.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synth.flow.item import Item
from synth.flow.verdicts import word_of
from synth.flow.window import Window
from synth.instruction_verification import running
from synth.instruction_verification.instruction import Case, Function, Instruction
from synth.instruction_verification.running import Run, Seen
from synth.instruction_verification.thresholds import meets

Says = Mapping[str, bool | None]
"""What a function says of each response; None where it comes to nothing."""


def cross_check(window: Window, found: Sequence[Instruction], settings: Any) -> list[Instruction]:
    """The instructions that functions and cases are left of; the others are settled."""
    left = []
    for instruction, runs in zip(found, _run(window, found, settings), strict=True):
        reason = _checked(window, instruction, runs, settings)
        if reason is None:
            left.append(instruction)
        else:
            instruction.settle(window, reason)
    return left


def agreement(
    case: Case, functions: Iterable[tuple[Function, Says]], *, others_only: bool
) -> float | None:
    """The share of the functions that say of the response what the case says.

    others_only: a function that came in the same answer as the case, and in no other, has no say.
    None if nobody has one.
    """
    voters = [
        says
        for function, says in functions
        if not others_only or len(function.origins | case.origins) > 1
    ]
    if not voters:
        return None
    return sum(says[case.response] is case.follows for says in voters) / len(voters)


def accuracy(says: Says, cases: Sequence[Case]) -> float:
    """The share of the cases of which the function says what they say."""
    return sum(says[case.response] is case.follows for case in cases) / len(cases)


def is_one_sided(cases: Iterable[Case]) -> bool:
    """Whether a function that always says the same could agree with all of them."""
    return len({case.follows for case in cases}) < 2


def _run(window: Window, found: Sequence[Instruction], settings: Any) -> list[dict[str, Run]]:
    """Of each instruction, by the function's id, the function on the responses of all cases."""
    pairs = [(place, item) for place, one in enumerate(found) for item in one.functions]
    responses = [_responses(one) for one in found]
    done = running.run(
        window,
        "check",
        [(item.value.source, responses[place]) for place, item in pairs],
        settings,
    )
    runs: list[dict[str, Run]] = [{} for _ in found]
    for (place, item), run in zip(pairs, done, strict=True):
        runs[place][item.id] = run
    return runs


def _responses(instruction: Instruction) -> list[str]:
    return list(dict.fromkeys(item.value.response for item in instruction.cases))


def _checked(
    window: Window, instruction: Instruction, runs: Mapping[str, Run], settings: Any
) -> str | None:
    """Why the instruction can't be used; None if it can."""
    limits = settings.limits
    says = _loaded(window, instruction, runs)
    if len(instruction.functions) < limits.min_functions:
        return "check:too_few_functions"
    if len(instruction.cases) < limits.min_cases:
        return "check:too_few_cases"
    if settings.guards:
        if is_one_sided(item.value for item in instruction.cases):
            return "check:one_sided"
        _reject_idle(window, instruction, runs, says)
        if not instruction.functions:
            return "check:no_function"
    _keep_cases(window, instruction, says, settings)
    if not instruction.cases:
        return "check:no_case"
    if settings.guards and is_one_sided(item.value for item in instruction.cases):
        return "check:one_sided"
    _keep_functions(window, instruction, runs, says, limits.function_kept)
    return None if instruction.functions else "check:no_function"


def _loaded(
    window: Window, instruction: Instruction, runs: Mapping[str, Run]
) -> dict[str, dict[str, bool | None]]:
    """What each function says, by its id; those that could not be run at all are rejected."""
    responses, says = _responses(instruction), {}
    for item in list(instruction.functions):
        run = runs[item.id]
        item.records.append({"step": "check", "isolation": run.isolation})
        if wrong := next((one for one in run.seen if _is_not_run(one)), None):
            word = f"undecided:{wrong.verdict}" if wrong.is_undecided else wrong.verdict
            _reject(window, instruction.functions, item, f"function:{word}", wrong.detail)
        else:
            follows = [one.follows for one in run.seen]
            says[item.id] = dict(zip(responses, follows, strict=True))
    return says


def _is_not_run(seen: Seen) -> bool:
    return seen.is_undecided or seen.verdict == "compile_error"


def _reject_idle(
    window: Window, instruction: Instruction, runs: Mapping[str, Run], says: Mapping[str, Says]
) -> None:
    """Functions that say nothing, or always the same, have no say in what follows."""
    for item in list(instruction.functions):
        said = set(says[item.id].values()) - {None}
        if not said:
            _reject(window, instruction.functions, item, *_failure(runs[item.id]))
        elif len(said) == 1:
            _reject(window, instruction.functions, item, "function:constant", f"always {said}")


def _failure(run: Run) -> tuple[str, str]:
    """Reason and detail of a function that came to nothing on any response."""
    return f"function:{word_of(run.seen[0].verdict)}", run.seen[0].detail


def _keep_cases(
    window: Window, instruction: Instruction, says: Mapping[str, Says], settings: Any
) -> None:
    functions = [(item.value, says[item.id]) for item in instruction.functions]
    for item in list(instruction.cases):
        share = agreement(item.value, functions, others_only=settings.guards)
        item.records.append({"step": "check", "follows": item.value.follows, "agreement": share})
        if share is None:
            _reject(window, instruction.cases, item, "case:unchecked", "by another's function")
        elif not meets(share, settings.limits.case_kept):
            _reject(window, instruction.cases, item, "case:disagrees", f"agreement {share:.3g}")
    window.tally("cases_kept", len(instruction.cases))


def _keep_functions(
    window: Window,
    instruction: Instruction,
    runs: Mapping[str, Run],
    says: Mapping[str, Says],
    bound: str,
) -> None:
    """Best first; of equals the first drawn."""
    cases = [item.value for item in instruction.cases]
    shares = {item.id: accuracy(says[item.id], cases) for item in instruction.functions}
    for item in list(instruction.functions):
        share = shares[item.id]
        item.records.append({"step": "check", "accuracy": share})
        if meets(share, bound):
            continue
        if all(value is None for value in says[item.id].values()):
            reason, detail = _failure(runs[item.id])
        else:
            reason, detail = "function:inaccurate", f"accuracy {share:.3g}"
        _reject(window, instruction.functions, item, reason, detail)
    instruction.functions.sort(key=lambda item: -shares[item.id])
    window.tally("functions_kept", len(instruction.functions))


def _reject(window: Window, among: list[Item], item: Item, reason: str, detail: str) -> None:
    among.remove(item)
    window.reject(item, reason, detail)
