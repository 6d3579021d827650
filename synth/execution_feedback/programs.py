"""The programs: what is asked for in which language, and a first look at what comes back."""

import ast
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

from synth.execution_feedback.problem import Problem
from synth.flow.item import Item
from synth.flow.templates import Conversation, Prompts
from synth.flow.verdicts import PASSING
from synth.flow.window import Window
from synth.rows.messages import as_text
from synth.synthesis import SynthesisError
from verifiers import code
from verifiers.code.programs import defines, parsed
from verifiers.sandbox.execution import UNDECIDED
from verifiers.sandbox.languages import UnknownLanguage, get
from verifiers.sandbox.toolchains import Missing, installed


def problems(window: Window, settings: Any) -> list[Problem]:
    """Each row as a task in each of its languages; rows that can't be one are rejected."""
    for name in settings.languages:
        toolchain = installed(name)
        if isinstance(toolchain, Missing):
            raise SynthesisError(f"languages: {toolchain.reason}")
    found = []
    for item in window.items:
        prompt = item.columns["prompt"]
        if not prompt or prompt[-1]["role"] != "user" or not prompt[-1]["content"].strip():
            window.reject(item, "prompt:no_question", "it does not end with a user's message")
        elif (wrong := _unusable(item)) is not None:
            window.reject(item, *wrong)
        else:
            question = prompt[0]["content"] if len(prompt) == 1 else as_text(prompt)
            found.append(Problem(item, question, _tasks(window, item, settings)))
    return found


def _unusable(item: Item) -> tuple[str, str] | None:
    """Why the row's own `language` or `entry_point` can't be had: a reason and a detail."""
    named, entry_point = item.columns.get("language"), item.columns.get("entry_point")
    if entry_point and not str(entry_point).isidentifier():
        return "entry_point:unreadable", f"{entry_point!r:.80} is no name of a function"
    if not named:
        return None
    try:
        language = get(str(named))
    except UnknownLanguage as error:
        return "language:unknown", str(error)
    if entry_point and language.name != "python":
        return "language:not_python", "it has an entry_point, and functions are Python's"
    toolchain = installed(language)
    return ("language:unavailable", toolchain.reason) if isinstance(toolchain, Missing) else None


def _tasks(window: Window, item: Item, settings: Any) -> list[Item]:
    names = languages_of(item, settings)
    columns = [{"language": name, "prompt": asked(window.prompts, item, name)} for name in names]
    if len(names) > 1:
        return window.expand("task", item, columns)
    item.columns = {**item.columns, **columns[0]}
    return [item]


def languages_of(item: Item, settings: Any) -> list[str]:
    """The row's own language, Python for a function, else some of the settings' by its id."""
    if item.columns.get("entry_point"):
        return ["python"]
    if item.columns.get("language"):
        return [get(item.columns["language"]).name]
    # Each gets a number of its own, so one language more takes few rows from the others.
    numbers = {
        name: sha256(f"{settings.seed}/{item.id}/{name}".encode()).digest()
        for name in (get(name).name for name in settings.languages)
    }
    return sorted(numbers, key=numbers.__getitem__)[: settings.languages_per_prompt]


def asked(prompts: Prompts, item: Item, language: str) -> Conversation:
    """The row's conversation, its last message worded so that a program answers it."""
    *before, last = item.columns["prompt"]
    entry_point = item.columns.get("entry_point")
    prompt = prompts.get("solve_function" if entry_point else "solve")
    blanks = {"problem": last["content"], "language": language, "entry_point": entry_point}
    return [*before, *prompt.fill(blanks)]


def write(window: Window, found: Sequence[Problem], settings: Any) -> None:
    """Draw programs for every task; those without one in them, and second ones, are rejected."""
    by_task = {task.id: problem for problem in found for task in problem.tasks}
    tasks = [task for problem in found for task in problem.tasks]
    groups = window.generate(
        "solve", tasks, lambda task: task.columns["prompt"], n=settings.samples
    )
    for task, group in zip(tasks, groups, strict=True):
        problem, sources = by_task[task.id], set()
        window.tally(f"programs/{task.columns['language']}", settings.samples)
        for program in group:
            program.value = _source(program, problem.entry_point)
            if program.value is None:
                window.reject(program, "solve:no_program")
                continue
            bare = _bare(program.value, task.columns["language"])
            if bare in sources:  # a second voice of one program would be no agreement
                window.reject(program, "solve:duplicate")
            else:
                sources.add(bare)
                problem.programs.append(program)


def _bare(source: str, language: str) -> str:
    """Equal for programs that differ in nothing but spacing, and in Python comments."""
    tree = parsed(source) if language == "python" else None
    if tree is not None:
        return ast.dump(tree)
    return "\n".join(line.rstrip() for line in source.split("\n") if line.strip())


def _source(program: Item, entry_point: str | None) -> str | None:
    source = code.extract(program.text, program.columns["language"], entry_point=entry_point)
    if source is None or (entry_point and not defines(source, entry_point)):
        return None
    return source


def check(window: Window, found: Sequence[Problem]) -> None:
    """The static check of the language's own compiler or linter, where there is one."""
    pairs = [
        (problem, program)
        for problem in found
        for program in problem.programs
        if installed(program.columns["language"]).check
    ]
    verdicts = window.compute(
        "check",
        _checked,
        [[program.columns["language"], program.value] for _, program in pairs],
        keeps=lambda verdict: verdict[0] not in PASSING,
    )
    for (problem, program), (verdict, detail) in zip(pairs, verdicts, strict=True):
        program.records.append({"step": "check", "verdict": verdict, "detail": detail})
        if verdict in UNDECIDED:
            problem.programs.remove(program)
            window.reject(program, f"check:undecided:{verdict}", detail)
        elif verdict != "accepted":
            problem.failed[program.id] = f"check:{verdict}"


def _checked(inputs: Sequence[Any]) -> list[Any]:
    def one(given: Any) -> list[str]:
        execution = code.sandbox().check(*given)
        said = execution.last.stderr.text.strip()[:500] if execution.last else ""
        return [execution.verdict, said or execution.detail]

    with ThreadPoolExecutor(code.sandbox().workers) as threads:
        return list(threads.map(one, inputs))
