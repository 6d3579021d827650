"""The sandbox as its users see it."""

import base64
import hashlib
import json
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from verifiers.sandbox import judge, keeper
from verifiers.sandbox.execution import (
    COMPILE_LIMITS,
    Call,
    Execution,
    Isolation,
    Limits,
    SandboxUnavailable,
    Test,
)
from verifiers.sandbox.inside import plain
from verifiers.sandbox.languages import Language, UnknownLanguage, get
from verifiers.sandbox.toolchains import Missing, installed
from verifiers.workers import WorkerFailure, WorkerPool

Files = str | Mapping[str, str | bytes]

MAX_INPUT_BYTES = 16 << 20
"""Of a job's files and inputs together; more is refused, not cut."""

_PROBE_TIMEOUT_S = 120.0
_MARGIN_S = 30.0


class Sandbox:
    """Runs programs nobody has read, in any language whose toolchain is installed.

    min_level, max_level: see Isolation. What isolates less than min_level is refused; max_level
    forgoes walls that the machine has. allow_unsandboxed: run even where nothing isolates, which
    every result then says. workers: how many jobs at once, one for each processor by default; more
    wait their turn, off the clock. Usable from several threads and after a fork.

    Raises SandboxUnavailable with what to do about it.
    """

    def __init__(
        self,
        *,
        min_level: int = 2,
        max_level: int = 3,
        allow_unsandboxed: bool = False,
        workers: int | None = None,
    ) -> None:
        if not 1 <= min_level <= max_level <= 3:
            raise ValueError(f"levels {min_level} to {max_level}; give 1 <= min <= max <= 3")
        self._pool = WorkerPool("verifiers.sandbox.keeper", workers or os.cpu_count() or 1)
        weakref.finalize(self, _stop, self._pool)
        self._max_level = max_level
        if self.isolation.level < min_level and not allow_unsandboxed:
            self.close()
            raise SandboxUnavailable(
                f"isolation of level {min_level} is asked for, and this machine gives "
                f"{self.isolation.level}: {self.isolation.why_not_more}; or accept it: "
                f"{'min_level=1' if self.isolation.level else 'allow_unsandboxed=True'}"
            )

    @cached_property
    def isolation(self) -> Isolation:
        """The walls that stand here, as live attacks on them have shown."""
        request = {"op": "probe", "max_level": self._max_level}
        try:
            return Isolation(**self._pool.call(request, _PROBE_TIMEOUT_S))
        except WorkerFailure as failure:
            raise SandboxUnavailable(f"the sandbox's own process fails: {failure}") from failure

    @property
    def workers(self) -> int:
        return self._pool.size

    def run(
        self,
        language: str,
        files: Files,
        *,
        stdin: str | bytes = b"",
        tests: Sequence[Test] = (),
        limits: Limits | None = None,
        compile_limits: Limits = COMPILE_LIMITS,
    ) -> Execution:
        """Compile the program if it needs that, and run it once; or once for each of `tests`, up to
        the first that runs out of time.

        files: the source, or sources by name of which the first is the main one. limits: for each
        run; a runtime that can't start with so little (a JVM) gets more. Raises
        ValueError for a file name that leads out of the folder; all that a program does is a
        verdict.
        """
        runs = list(tests) or [Test("", stdin)]
        done = self._execute(language, files, "run", runs, limits or Limits(), compile_limits)
        return done if tests else replace(done, tests=())

    def check(self, language: str, files: Files, *, limits: Limits = COMPILE_LIMITS) -> Execution:
        """The static check of the language's own compiler or linter; `static_error` if it fails.

        In the sandbox like all else: some checkers run code of the program's.
        """
        done = self._execute(language, files, "check", [Test("")], limits, limits)
        return replace(done, tests=())

    def script(
        self,
        source: str,
        *,
        stdin: str | bytes = b"",
        args: Sequence[str] = (),
        limits: Limits | None = None,
    ) -> Execution:
        """Run Python source as `run("python", ...)` does, in a third of the time.

        By a fork of an interpreter that waits inside the sandbox, so with no sockets and no files
        but its own, and in the isolation of its job from all others no less.
        """
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        request = {"role": "script", "source": source, "args": list(args)}
        request["stdin"] = base64.b64encode(data).decode()
        reply, common = self._warm(request, source, limits)
        if reply is None:
            return Execution(stage="run", **common)
        common["toolchain"] = str(installed("python"))
        step = {**request["limits"], "stage": "run", "id": ""}
        return judge.execution({"steps": [], **reply}, [step], [], **common)

    def call(
        self,
        source: str,
        function: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        limits: Limits | None = None,
    ) -> Call:
        """Call a function of Python source, with plain data and for plain data.

        Plain are None, numbers, text, bytes, and lists, tuples, sets and dicts of these. Raises
        ValueError for arguments that are not.
        """
        request = {"role": "call", "source": source, "function": function}
        request["args"] = plain.encode(list(args))
        request["kwargs"] = plain.encode(dict(kwargs or {}))
        reply, common = self._warm(request, source, limits)
        if reply is None or "failed" in reply:
            verdict = common["verdict"] if reply is None else "sandbox_error"
            return Call(verdict, None, common["detail"] if reply is None else reply["failed"])
        value = plain.decode(reply["value"]) if reply["verdict"] == "accepted" else None
        return Call(reply["verdict"], value, reply["detail"])

    def examine(
        self,
        solution: str,
        tests: Sequence[str],
        entry_points: str | Sequence[str],
        *,
        setup: str = "",
        call: str = "",
        limits: Limits | None = None,
    ) -> Execution:
        """Test functions of a Python solution by test code that it can neither see nor reach.

        tests: code of each, in which the functions go by their names, the first also as
        `candidate`. setup, call: code to run before and after each test's. Each is run with a fresh
        copy of the solution, the two in processes of their own between which only plain data
        passes. A test that is broken itself, or never calls the solution, is a `harness_error`.
        After one that runs out of time the rest do not run.
        """
        names = [entry_points] if isinstance(entry_points, str) else list(entry_points)
        request = {"role": "examine", "solution": solution, "entry_points": names}
        request |= {"setup": setup, "call": call}
        request["tests"] = [{"id": str(i), "code": code} for i, code in enumerate(tests)]
        reply, common = self._warm(request, solution, limits, num_runs=len(tests))
        if reply is None:
            return Execution(stage="run", **common)
        ids = [test["id"] for test in request["tests"]]
        return judge.examination(reply, ids, toolchain=str(installed("python")), **common)

    def _warm(
        self, request: dict[str, Any], source: str, limits: Limits | None, num_runs: int = 1
    ) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """The warm engine's reply, and what every Execution says; None where nothing ran."""
        limits = limits or Limits()
        request["limits"] = {**asdict(limits), "wall_s": limits.wall}
        request |= {"op": "warm", "level": self.isolation.level}
        common = {
            "limits": limits,
            "code_sha256": _digest({"main.py": source.encode("utf-8", "surrogatepass")}),
            "isolation": self.isolation,
        }

        def nothing(verdict: str, detail: str) -> tuple[None, dict[str, Any]]:
            return None, {**common, "verdict": verdict, "detail": detail}

        toolchain = installed("python")
        if isinstance(toolchain, Missing):
            return nothing("unavailable", toolchain.reason)
        num_bytes = len(json.dumps(request))
        if num_bytes > MAX_INPUT_BYTES:
            return nothing(
                "harness_error", f"{num_bytes} bytes of input, more than {MAX_INPUT_BYTES}"
            )
        try:
            return self._pool.call(request, num_runs * limits.wall + _MARGIN_S), common
        except WorkerFailure as failure:
            return nothing("sandbox_error", str(failure))

    def _execute(
        self,
        name: str,
        files: Files,
        stage: str,
        tests: list[Test],
        limits: Limits,
        compile_limits: Limits,
    ) -> Execution:
        try:
            language = get(name)
        except UnknownLanguage as error:
            return Execution("unavailable", stage, limits=limits, detail=str(error))
        contents = _contents(files, language)
        code_sha256 = _digest(contents)
        common = {"limits": limits, "code_sha256": code_sha256, "isolation": self.isolation}
        toolchain = installed(language)
        if isinstance(toolchain, Missing):
            return Execution("unavailable", stage, detail=toolchain.reason, **common)
        command = language.run if stage == "run" else language.check
        if not command or (stage == "check" and not toolchain.check):
            detail = f"nothing to {stage} {language.name} with"
            if command:
                detail += f": {command[0]} is not installed"
            return Execution("unavailable", stage, detail=detail, **common)
        num_bytes = sum(map(len, contents.values())) + sum(len(test.stdin) for test in tests)
        if num_bytes > MAX_INPUT_BYTES:
            detail = f"{num_bytes} bytes of files and inputs, more than {MAX_INPUT_BYTES}"
            return Execution("harness_error", stage, detail=detail, **common)
        steps = [
            _step(language, "compile", line, Test(""), compile_limits)
            for line in (language.compile if stage == "run" else ())
        ]
        steps += [_step(language, stage, command, test, limits) for test in tests]
        job = self._job(language, contents, steps)
        try:
            reply = self._pool.call(job, sum(step["wall_s"] for step in steps) + _MARGIN_S)
        except WorkerFailure as failure:
            return Execution("sandbox_error", stage, detail=str(failure), **common)
        return judge.execution(reply, job["steps"], tests, toolchain=str(toolchain), **common)

    def _job(
        self, language: Language, contents: dict[str, bytes], steps: list[dict]
    ) -> dict[str, Any]:
        main = next(iter(contents))
        return {
            "op": "run",
            "level": self.isolation.level,
            "files": {name: base64.b64encode(data).decode() for name, data in contents.items()},
            "file": main,
            "stem": PurePosixPath(main).stem,
            "mounts": list(language.mounts),
            "env": dict(language.env),
            "steps": steps,
        }

    def close(self) -> None:
        """Stop the workers. The sandbox can be used again; new ones are then started."""
        _stop(self._pool)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stop(pool: WorkerPool) -> None:
    pool.close()
    keeper.sweep()  # killed, they had no time to tidy up


def _contents(files: Files, language: Language) -> dict[str, bytes]:
    if isinstance(files, str):
        # Some interpreters lose a last line that does not end.
        source = files if files.endswith("\n") else files + "\n"
        files = {language.file_of(source): source}
    if not files:
        raise ValueError("no files; give the program's source")
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name or str(path) != name:
            raise ValueError(f"file name {name!r}; give one relative to the program's folder")
    return {
        name: data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
        for name, data in files.items()
    }


def _digest(contents: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in sorted(contents.items()):
        digest.update(f"{name}\0{len(data)}\0".encode("utf-8", "surrogatepass") + data)
    return digest.hexdigest()


def _step(
    language: Language, stage: str, command: Sequence[str], test: Test, limits: Limits
) -> dict[str, Any]:
    enough = limits.at_least(language.memory_bytes, language.processes)
    stdin = test.stdin if isinstance(test.stdin, bytes) else test.stdin.encode()
    return {
        **asdict(enough),
        "wall_s": enough.wall,
        "address_space_limit": language.address_space_limit,
        "stage": stage,
        "id": test.id,
        "command": list(command),
        "args": list(test.args),
        "stdin": base64.b64encode(stdin).decode(),
    }
