"""What counts as installed, with toolchains made up for the purpose."""

import hashlib
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from verifiers.sandbox import toolchains
from verifiers.sandbox.languages import LANGUAGES, Language
from verifiers.sandbox.toolchains import Missing, Toolchain, installed, survey


@pytest.fixture
def folder():
    """One that every user may read, as tmp_path is not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def made(folder: Path, script: str = "echo moo 1.2", **fields) -> Language:
    """A language whose one program is a shell script that the sandbox sees."""
    program = folder / "moo"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    row = Language("cow", "main.cow", ("moo", "{file}"), ("moo", "--version"), "cow-utils")
    seen = {"mounts": (str(folder),), "env": (("PATH", f"{folder}:/usr/bin:/bin"),)}
    return replace(row, **{**seen, **fields})


def test_a_toolchain_is_known_by_version_path_and_hash(folder: Path) -> None:
    row = made(folder, "echo; echo warning: 2 cows; echo moo 1.2; echo more 3")
    digest = hashlib.sha256((folder / "moo").read_bytes()).hexdigest()
    path = str(folder / "moo")
    assert installed(row) == Toolchain("cow", "moo", "moo 1.2", path, digest, check=False)
    assert str(installed(row)) == "moo: moo 1.2"


def test_the_version_is_asked_once(folder: Path) -> None:
    folder.chmod(0o777)
    row = made(folder, f"echo x >> {folder}/calls; echo 1")
    assert installed(row) == installed(row)
    assert (folder / "calls").read_text() == "x\n"


def test_what_is_absent_names_the_package_and_is_looked_for_again(folder: Path) -> None:
    row = made(folder)
    (folder / "moo").unlink()
    missing = installed(row)
    assert isinstance(missing, Missing) and not missing.broken
    assert "moo is not installed" in missing.reason and "cow-utils" in missing.reason
    assert isinstance(installed(made(folder)), Toolchain)


def test_the_users_path_does_not_count(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    missing = installed(made(folder, mounts=(), env=()))
    assert isinstance(missing, Missing)
    assert f"{folder}/moo, which is not on the sandbox's PATH" in missing.reason


def test_a_link_out_of_the_sandbox_does_not_count(folder: Path) -> None:
    row = made(folder)
    inside = folder / "bin"
    inside.mkdir()
    (inside / "moo").symlink_to(folder / "moo")
    missing = installed(replace(row, mounts=(str(inside),), env=(("PATH", str(inside)),)))
    assert isinstance(missing, Missing)
    assert f"leads to {folder}/moo, which the sandbox does not see" in missing.reason


def test_what_only_root_can_read_does_not_count(folder: Path, as_root) -> None:
    row = made(folder)
    folder.chmod(0o700)
    missing = installed(row)
    assert isinstance(missing, Missing) and "can't be read and run by every user" in missing.reason


def test_programs_that_the_commands_start_are_needed_too(folder: Path) -> None:
    missing = installed(made(folder, needs=("milk-separator",)))
    assert isinstance(missing, Missing) and "milk-separator is not installed" in missing.reason


@pytest.mark.parametrize("script", ["echo moo 1.2; exit 1", "true", "kill -9 $$"])
def test_a_toolchain_that_fails_to_tell_its_version_is_broken(folder: Path, script: str) -> None:
    missing = installed(made(folder, script))
    assert isinstance(missing, Missing) and missing.broken
    assert "`moo --version` fails" in missing.reason


def test_a_version_that_never_comes_is_not_waited_for(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(toolchains, "VERSION_TIMEOUT_S", 0.2)
    began = time.monotonic()
    missing = installed(made(folder, "echo 1; sleep 30 & sleep 30"))
    assert isinstance(missing, Missing) and missing.broken
    assert time.monotonic() - began < 10


def test_toolchains_see_nothing_of_the_user(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    row = made(folder, 'echo "1 [$SECRET] $HOME"; read -r line; echo "$line"')
    assert installed(row).version == "1 [] /tmp"


def test_toolchains_do_not_run_as_root(folder: Path, as_root) -> None:
    assert installed(made(folder, "echo $(id -u) $(id -g) $(id -G)")).version == "61184 61184 61184"


def test_the_program_of_the_check_is_optional(folder: Path) -> None:
    with_check = made(folder, check=("moo", "-c", "{file}"))
    without = made(folder, check=("moo-lint", "{file}"))
    assert installed(with_check).check is True
    assert installed(without).check is False


@pytest.mark.slow
def test_the_survey_tells_of_every_language_in_order() -> None:
    found = survey()
    assert [entry.language for entry in found] == list(LANGUAGES)
    assert all(entry.version if isinstance(entry, Toolchain) else entry.reason for entry in found)
