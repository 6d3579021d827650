import subprocess
import sys
from pathlib import Path

import pytest

import verifiers
from verifiers.loading import load_callable
from verifiers.verdict import Verdict, VerifierError


def write(folder: Path, text: str) -> Path:
    (folder / "mine.py").write_text(text)
    return folder


def test_a_function_of_a_file_is_found_relative_to_the_root(tmp_path: Path) -> None:
    write(tmp_path, "SEEN = []\ndef one():\n    SEEN.append(1)\ndef two():\n    return SEEN\n")
    load_callable("mine.py:one", tmp_path)()
    assert load_callable("mine.py:two", tmp_path)() == [1]  # one module, not two
    write(tmp_path, "def one():\n    return 'edited'\n")
    assert load_callable("mine.py:one", tmp_path)() == "edited"


def test_a_function_of_a_package_is_found(tmp_path: Path) -> None:
    assert load_callable("os.path:basename", tmp_path)("a/b") == "b"


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        ("x = 1\n", "absent.py:f", "there is no file"),
        ("def score(): ...\n", "mine.py:scores", "no 'scores' in mine.py; did you mean 'score'"),
        ("score = 3\n", "mine.py:score", "'score' is a int, not something to call"),
        ("import json\n\njson.loads('{')\n", "mine.py:f", r"mine\.py:3: JSONDecodeError"),
        ("x = 1\ndef f(:\n", "mine.py:f", r"mine\.py:2: SyntaxError"),
        ("import sys\nsys.exit(3)\n", "mine.py:f", r"mine\.py:2: SystemExit"),
        ("import absent_thing\n", "mine.py:f", r"mine\.py:1: ModuleNotFoundError"),
        ("", "absent_package.sub:f", "there is no module 'absent_package'"),
        ("", "mine.py:", "neither 'file.py:name' nor"),
    ],
)
def test_a_spec_that_leads_nowhere_says_why(
    tmp_path: Path, text: str, spec: str, message: str
) -> None:
    write(tmp_path, text)
    with pytest.raises(ValueError, match=message):
        load_callable(spec, tmp_path)


def test_an_error_inside_an_installed_module_names_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_room.py").write_text("x = 1\ny = 1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"broken_room\.py:2: ZeroDivisionError"):
        load_callable("broken_room:y", tmp_path)


def test_a_verifier_may_be_a_function_of_a_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        "from verifiers import Verdict\n"
        "def verify(completion, reference, **columns):\n"
        "    return Verdict(completion == reference, 1.0, 'same')\n",
    )
    assert verifiers.get("mine.py:verify", tmp_path)("a", "a").correct


def test_grade_gives_columns_and_turns_a_crash_into_undecided() -> None:
    def verify(completion: str, reference: str, **columns: object) -> Verdict:
        assert columns == {"id": "x"}
        return Verdict(int(completion) == int(reference), 1.0, "number")

    row = {"id": "x", "answer": "3", "completion": "not passed on"}
    assert verifiers.grade(verify, "3", row).correct is True
    crash = verifiers.grade(verify, "three", row)
    assert (crash.correct, crash.reason) == (None, "verifier_error")
    with pytest.raises(VerifierError, match="needs the column 'answer'"):
        verifiers.grade(verify, "3", {"target": "3"})
    with pytest.raises(VerifierError, match="returned bool"):
        verifiers.grade(lambda completion, reference, **columns: True, "3", row)


def test_the_three_rooms_import_nothing_heavy() -> None:
    code = (
        "import sys, verifiers, rewards, synth;"
        "print([m for m in ('torch', 'numpy', 'reasoning_gym', 'trl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
