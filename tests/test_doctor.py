"""`align doctor`: what this machine has, and what would add the rest."""

from typer.testing import CliRunner

import cli
from verifiers.sandbox import Isolation, Missing, Toolchain


def shown(monkeypatch, level, found):
    class Known:
        isolation = Isolation(level, why_not_more="" if level == 3 else "level 3: no groups")

        def __init__(self, **_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("verifiers.sandbox.Sandbox", Known)
    monkeypatch.setattr("verifiers.sandbox.survey", lambda: found)
    done = CliRunner().invoke(cli.app, ["doctor"], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    return done.output


C = Toolchain("c", "gcc", "gcc 12.2.0", "/usr/bin/gcc", "0" * 64, True)
NIM = Missing("nim", "nim", "nim is not installed; Debian's package nim adds nim")
GO = Missing("go", "golang-go", "/usr/bin/go is there, but `go version` fails", broken=True)


def test_versions_and_packages_of_what_is_missing_are_listed(monkeypatch):
    output = shown(monkeypatch, 3, [C, NIM, GO])
    assert "level 3" in output and "languages: 1 of 3" in output
    assert "gcc 12.2.0" in output and "package nim adds nim" in output
    assert "broken" in output and "`go version` fails" in output
    assert "apt-get install nim golang-go" in output


def test_a_machine_that_isolates_nothing_says_so_and_why(monkeypatch):
    output = shown(monkeypatch, 0, [C])
    assert "level 0" in output and "no groups" in output and "apt-get" not in output
