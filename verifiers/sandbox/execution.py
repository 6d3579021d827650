"""What a program may use, and what became of it."""

from dataclasses import dataclass, field, replace
from typing import Any

MIB = 1 << 20

VERDICTS = (
    "accepted",
    "wrong_answer",
    "runtime_error",
    "signal",
    "time_cpu",
    "time_wall",
    "memory",
    "output_limit",
    "file_limit",
    "pids_limit",
    "seccomp",
    "compile_error",
    "static_error",
    "harness_error",
    "sandbox_error",
    "unavailable",
)

UNDECIDED = frozenset({"harness_error", "sandbox_error", "unavailable"})
"""These say nothing about the program, and never count as a failure of it."""


@dataclass(frozen=True)
class Limits:
    """What one step (a compilation, a test) may use.

    memory_bytes: of the whole process tree under a cgroup, else of each process. output_bytes: of
    stdout and of stderr; a program that writes more is stopped. disk_bytes: of /tmp, and of /out.
    wall_s: None for 2 * cpu_s + 2.
    """

    cpu_s: float = 5.0
    wall_s: float | None = None
    memory_bytes: int = 512 * MIB
    processes: int = 64
    output_bytes: int = MIB
    disk_bytes: int = 64 * MIB
    file_bytes: int = 16 * MIB
    open_files: int = 256
    stack_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"Limits: {name} is {value}; give a number above 0")

    @property
    def wall(self) -> float:
        return 2 * self.cpu_s + 2 if self.wall_s is None else self.wall_s

    def at_least(self, memory_bytes: int | None, processes: int | None) -> "Limits":
        """With no less memory and processes than a runtime needs to start at all."""
        return replace(
            self,
            memory_bytes=max(self.memory_bytes, memory_bytes or 0),
            processes=max(self.processes, processes or 0),
        )


COMPILE_LIMITS = Limits(
    cpu_s=30, memory_bytes=2048 * MIB, processes=256, disk_bytes=256 * MIB, file_bytes=128 * MIB
)


@dataclass(frozen=True)
class Test:
    """One run of the program. expected_stdout: None if any output will do.

    Outputs are compared without trailing spaces of lines and trailing lines.
    """

    __test__ = False  # no test class of pytest's

    id: str
    stdin: str | bytes = b""
    args: tuple[str, ...] = field(default=(), kw_only=True)
    expected_stdout: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Output:
    """What was written, as bytes; at most `Limits.output_bytes` of it."""

    data: bytes = b""
    truncated: bool = False

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")


@dataclass(frozen=True)
class Isolation:
    """The walls a program ran behind.

    level: 3 namespaces, seccomp and cgroup; 2 the same without cgroup (memory and processes are
    limited for each process and user, not for the tree); 1 Landlock, seccomp and rlimits; 0 none.
    why_not_more: what kept it from the next level. seccomp: start of the filter's SHA-256.
    """

    level: int
    cgroup: str | None = None
    bubblewrap: str | None = None
    landlock_abi: int = 0
    seccomp: str | None = None
    uid: int | None = None
    why_not_more: str = ""


@dataclass(frozen=True)
class Step:
    """One process tree that ran: the compiler, the program, or the program on one test.

    exit_code: None if a signal ended it. cpu_s, wall_s: seconds from its own start, never from the
    queue's. memory_peak_bytes: of the tree under a cgroup, with what the
    kernel keeps of files it read; else of its largest process.
    """

    stage: str
    verdict: str
    id: str = ""
    exit_code: int | None = None
    signal: int | None = None
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_peak_bytes: int = 0
    oom_kill: bool = False
    stdout: Output = field(default_factory=Output)
    stderr: Output = field(default_factory=Output)
    detail: str = ""


@dataclass(frozen=True)
class Execution:
    """What became of a program; `verdict` is that of the first step that was not accepted.

    stage: "compile", "check" or "run", the stage the verdict is about. last: that step itself.
    tests: one a test, in order; a test that never ran has the reason as its verdict.
    toolchain: name and version of what ran it. code_sha256: of its files. isolation: None if
    nothing ran.
    """

    verdict: str
    stage: str
    last: Step | None = None
    tests: tuple[Step, ...] = ()
    steps: tuple[Step, ...] = ()
    toolchain: str | None = None
    isolation: Isolation | None = None
    limits: Limits = field(default_factory=Limits)
    code_sha256: str = ""
    detail: str = ""

    @property
    def accepted(self) -> bool:
        return self.verdict == "accepted"

    @property
    def decided(self) -> bool:
        """Whether the verdict is about the program at all."""
        return self.verdict not in UNDECIDED


@dataclass(frozen=True)
class Call:
    """What became of one call: "accepted" and the value it returned, or a verdict and why."""

    verdict: str
    value: Any = None
    detail: str = ""


class SandboxUnavailable(RuntimeError):
    """Nothing here isolates a program well enough; the message says what to install."""
