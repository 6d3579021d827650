"""Which toolchains the sandbox finds on this machine.

What counts is what a program inside would find: its PATH and not the user's, and only what an
unprivileged user may read.
"""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from verifiers.sandbox.bubblewrap import BASE_MOUNTS, ENVIRONMENT
from verifiers.sandbox.languages import LANGUAGES, Language, get
from verifiers.sandbox.slot import FIRST_UID

VERSION_TIMEOUT_S = 20.0

_ROOTS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", *BASE_MOUNTS)


@dataclass(frozen=True)
class Toolchain:
    """An installed one.

    name: of its main program; version: the line in which that tells it; path: with all links
    followed; sha256: of the file there. check: whether the program of the static check is there.
    """

    language: str
    name: str
    version: str
    path: str
    sha256: str
    check: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.version}"


@dataclass(frozen=True)
class Missing:
    """One that can't be used. reason: why, and what to do. broken: it is there, but fails."""

    language: str
    package: str
    reason: str
    broken: bool = False


_known: dict[Language, Toolchain] = {}


def installed(language: str | Language) -> Toolchain | Missing:
    """The toolchain of a language, asked for its version once a process.

    One that is absent or broken is looked for again each time. Raises UnknownLanguage.
    """
    row = get(language) if isinstance(language, str) else language
    if row in _known:
        return _known[row]
    found = _inspect(row)
    if isinstance(found, Toolchain):
        _known[row] = found
    return found


def survey() -> list[Toolchain | Missing]:
    """All languages of the table, in its order. Takes seconds, as each is asked for its version."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(installed, LANGUAGES.values()))


def _inspect(row: Language) -> Toolchain | Missing:
    paths = {}
    for program in row.programs:
        try:
            paths[program] = _find(program, row)
        except FileNotFoundError as error:
            advice = f"{row.name} needs it (Debian: apt-get install {row.package})"
            return Missing(row.name, row.package, f"{error}; {advice}")
    version = _version(row, paths[row.version[0]])
    name = row.programs[0]
    path = os.path.realpath(paths[name])
    if version is None:
        reason = f"{paths[name]} is there, but `{' '.join(row.version)}` fails; install it anew"
        return Missing(row.name, row.package, reason, broken=True)
    status = os.stat(path)
    digest = _sha256(path, status.st_size, status.st_mtime_ns)
    return Toolchain(row.name, name, version, path, digest, _can_check(row))


def _can_check(row: Language) -> bool:
    if row.check is None:
        return False
    try:
        _find(row.check[0], row)
    except FileNotFoundError:
        return False
    return True


def _environment(row: Language) -> dict[str, str]:
    return {**ENVIRONMENT, **dict(row.env)}


def _find(program: str, row: Language) -> str:
    """The file that this name stands for inside. Raises FileNotFoundError that says why none."""
    obstacle = ""
    for folder in _environment(row)["PATH"].split(":"):
        path = Path(folder, program)
        if not os.path.lexists(path):
            continue
        real = os.path.realpath(path)
        if not _within(real, (*_ROOTS, *row.mounts)):
            obstacle = f"{path} leads to {real}, which the sandbox does not see"
        elif not _usable(real):
            obstacle = f"{real} can't be read and run by every user, so not in the sandbox"
        else:
            return str(path)
    elsewhere = shutil.which(program)
    if not obstacle and elsewhere:
        obstacle = f"{program} is at {elsewhere}, which is not on the sandbox's PATH"
    raise FileNotFoundError(obstacle or f"{program} is not installed")


def _within(path: str, roots: tuple[str, ...]) -> bool:
    return any(Path(path).is_relative_to(os.path.realpath(root)) for root in roots)


def _usable(path: str) -> bool:
    """By the user that programs run as: an unprivileged one if this is root, else this one."""
    if os.geteuid() != 0:
        return os.path.isfile(path) and os.access(path, os.R_OK | os.X_OK)
    try:
        mode = os.stat(path).st_mode
        folders = [parent.stat().st_mode for parent in Path(path).parents]
    except OSError:
        return False
    needed = stat.S_IROTH | stat.S_IXOTH
    readable = stat.S_ISREG(mode) and mode & needed == needed
    return readable and all(folder & stat.S_IXOTH for folder in folders)


def _version(row: Language, path: str) -> str | None:
    """The line that tells the version, or None if the program fails or says nothing in time."""
    user = {"user": FIRST_UID, "group": FIRST_UID, "extra_groups": []} if not os.geteuid() else {}
    try:
        process = subprocess.Popen(
            [path, *row.version[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(row),
            cwd="/",
            start_new_session=True,
            **user,
        )
    except OSError:
        return None
    with process:
        try:
            output, _ = process.communicate(timeout=VERSION_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with all that holds the pipe open
            return None
    lines = (line.strip() for line in output.decode("utf-8", "replace").splitlines())
    told = (line for line in lines if any(map(str.isdigit, line)) and "warning" not in line)
    return next(told, None) if process.returncode == 0 else None


@lru_cache
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
