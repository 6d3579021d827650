"""What the sandbox has to know of a language: its commands, and what they need to work."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from string import Formatter

GIB = 1 << 30

PLACES = frozenset({"file", "stem", "out", "w", "tmp"})
"""What commands may name in braces; a brace that is meant as such is doubled.

{file}: the main source, {stem}: its name without the ending, {w}: the folder of the sources
(read-only, and the working directory), {out}: for what compilers write, {tmp}: for all else.
"""

Command = tuple[str, ...]


@dataclass(frozen=True)
class Language:
    """One row of the table.

    file: how the main source is called unless the user says otherwise. called_after: where the
    compiler wants the file to be called after what is in it, a pattern of that, with the group
    `name`; what has the group `public` goes first, then the last before `entry`, a pattern too, or
    without one the first. compile: carried out in
    order before `run`. check: a look at the source by the compiler or linter. Some of these carry
    out code of the program (macros, BEGIN blocks), so all of them belong in the sandbox. version:
    prints the version, and fails if the toolchain is not whole. package: Debian's, that adds the
    toolchain. needs: programs that the commands start in turn. mounts: host paths that it needs
    beside /usr. memory_bytes, processes: below this the runtime does not start.
    address_space_limit: False for runtimes that reserve far more memory than they use.
    """

    name: str
    file: str
    run: Command
    version: Command
    package: str
    compile: tuple[Command, ...] = ()
    check: Command | None = None
    needs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    called_after: str | None = None
    entry: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    memory_bytes: int | None = None
    processes: int | None = None
    address_space_limit: bool = True

    def __post_init__(self) -> None:
        for command in self.commands:
            unknown = {place for part in command for place in _places(part)} - PLACES
            if unknown:
                raise ValueError(f"language {self.name}: {{{unknown.pop()}}} in {command}")

    def file_of(self, source: str) -> str:
        """The name for a file with this source."""
        if self.called_after is None:
            return self.file
        # One pass for each pattern: the source is a stranger's, and no clock runs here.
        found = list(re.finditer(self.called_after, source, re.MULTILINE))
        named = next((one for one in found if one.groupdict().get("public")), None)
        if named is None and self.entry is not None:
            entry = re.search(self.entry, source)
            before = [one for one in found if entry and one.start() < entry.start()]
            named = before[-1] if before else None
        elif named is None and found:
            named = found[0]
        return named["name"] + PurePosixPath(self.file).suffix if named else self.file

    @property
    def commands(self) -> tuple[Command, ...]:
        """All that a program of the language goes through."""
        return (*self.compile, *((self.check,) if self.check else ()), self.run)

    @property
    def programs(self) -> tuple[str, ...]:
        """What must be installed, the one that the version is of first."""
        named = [command[0] for command in (self.version, *self.compile, self.run)]
        found = dict.fromkeys([name for name in named if not name.startswith("{")] + [*self.needs])
        return tuple(sorted(found, key=lambda name: name == "sh"))


def _places(part: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(part) if name is not None}
