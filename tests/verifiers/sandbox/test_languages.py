"""Every language whose toolchain is here, in the real sandbox.

programs/NAME.txt holds little programs in sections: hello prints the line it reads (or what is
under `prints`), crash fails while it runs, loop never ends, broken is no program of the language.
"""

import re
from pathlib import Path

import pytest

from verifiers.sandbox import Limits, Sandbox, Test
from verifiers.sandbox.languages import LANGUAGES, Language, UnknownLanguage, get
from verifiers.sandbox.toolchains import Missing, installed

PROGRAMS = Path(__file__).parent / "programs"
FAST = ("python", "bash", "c", "javascript")
LINE = "42\n"
DOCUMENTS = {"json", "toml", "yaml", "xml", "html", "markdown", "css"}
NO_BROKEN = {"markdown"}  # any text is Markdown


def programs(name: str) -> dict[str, str]:
    sections = re.split("^=== ", (PROGRAMS / f"{name}.txt").read_text(), flags=re.MULTILINE)
    return dict(section.split("\n", 1) for section in sections[1:])


def languages_with(section: str):
    return [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in LANGUAGES
        if section in programs(name)
    ]


@pytest.fixture
def row(language) -> Language:
    toolchain = installed(language)
    if isinstance(toolchain, Missing):
        pytest.skip(toolchain.reason)
    return LANGUAGES[language]


@pytest.mark.parametrize("language", languages_with("hello"))
def test_what_a_program_prints_decides(sandbox: Sandbox, row: Language, language: str) -> None:
    code = programs(language)
    expected = code.get("prints", LINE)
    tests = [
        Test("right", LINE, expected_stdout=expected),
        Test("wrong", "43\n", expected_stdout="44"),
    ]
    done = sandbox.run(language, code["hello"], tests=tests)
    assert [step.verdict for step in done.tests] == ["accepted", "wrong_answer"], done
    assert not done.tests[0].stderr.data


@pytest.mark.parametrize("language", languages_with("crash"))
def test_a_crash_is_not_accepted(sandbox: Sandbox, row: Language, language: str) -> None:
    done = sandbox.run(language, programs(language)["crash"], stdin=LINE)
    assert (done.stage, done.verdict in {"runtime_error", "signal"}) == ("run", True), done


@pytest.mark.parametrize("language", languages_with("loop"))
def test_an_endless_program_is_stopped(sandbox: Sandbox, row: Language, language: str) -> None:
    limits = Limits(cpu_s=2 if row.memory_bytes else 1)
    done = sandbox.run(language, programs(language)["loop"], stdin=LINE, limits=limits)
    assert (done.stage, done.verdict in {"time_cpu", "time_wall"}) == ("run", True), done


@pytest.mark.parametrize("language", languages_with("broken"))
def test_what_is_no_program_is_rejected(sandbox: Sandbox, row: Language, language: str) -> None:
    done = sandbox.run(language, programs(language)["broken"], stdin=LINE)
    failures = {"compile_error"} if row.compile else {"runtime_error", "signal"}
    assert done.verdict in failures, done


@pytest.mark.parametrize(
    "language", [case for case in languages_with("broken") if LANGUAGES[case.values[0]].check]
)
def test_the_check_tells_programs_from_broken_ones(
    sandbox: Sandbox, row: Language, language: str
) -> None:
    if not installed(language).check:
        pytest.skip(f"{row.check[0]} is not installed")
    code = {name: text for name, text in programs(language).items() if name != "prints"}
    found = {name: sandbox.check(language, source).verdict for name, source in code.items()}
    assert found == dict.fromkeys(code, "accepted") | {"broken": "static_error"}


GARBAGE = {  # gigabytes in all, of which hardly anything is ever in use
    "java": """public class Main {
        static byte[] kept;
        public static void main(String[] args) {
            for (int i = 0; i < 20000; i++) kept = new byte[1 << 19];
            System.out.println(kept.length);
        }
    }""",
    "javascript": """let kept;
        for (let i = 0; i < 3000; i++) kept = new Array(1 << 17).fill(i);
        console.log(kept.length * 4);""",
    "go": """package main
        var kept []byte
        func main() {
            for i := 0; i < 20000; i++ { kept = make([]byte, 1 << 19) }
            println(len(kept)); print("")
        }""",
    "csharp": """class Program {
        static byte[] kept;
        static void Main() {
            for (int i = 0; i < 20000; i++) kept = new byte[1 << 19];
            System.Console.WriteLine(kept.Length);
        }
    }""",
}


@pytest.mark.slow
@pytest.mark.parametrize("language", GARBAGE)
def test_garbage_is_collected_before_the_memory_limit(
    sandbox: Sandbox, row: Language, language: str
) -> None:
    done = sandbox.run(language, GARBAGE[language], limits=Limits(cpu_s=30))
    assert done.accepted, done


def test_every_language_has_its_programs_and_no_other() -> None:
    assert {path.stem for path in PROGRAMS.iterdir()} == set(LANGUAGES)
    for name in LANGUAGES:
        expected = {"hello", "crash", "loop", "broken"}
        expected -= {"crash", "loop"} if name in DOCUMENTS else set()
        expected -= {"broken"} if name in NO_BROKEN else set()
        assert set(programs(name)) - {"prints"} == expected, name


def test_no_two_languages_share_a_name_or_an_alias() -> None:
    names = [name for row in LANGUAGES.values() for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert names == [name.lower() for name in names]


@pytest.mark.parametrize("row", LANGUAGES.values(), ids=LANGUAGES)
def test_rows_are_complete(row: Language) -> None:
    assert row.package and row.version and row.programs and row.file
    assert all(mount.startswith("/etc/") or mount.startswith("/var/lib/") for mount in row.mounts)
    if not row.address_space_limit:
        assert row.name in {"commonlisp", "haskell"} or row.memory_bytes
    places = {"file": "/w/a", "stem": "a", "out": "/out", "w": "/w", "tmp": "/tmp"}
    for command in row.commands:
        assert all(part.format(**places) is not None for part in command)


def test_a_row_with_an_unknown_place_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cow: \{fil\}"):
        Language("cow", "main.cow", ("moo", "{fil}"), ("moo", "-v"), "cow")


@pytest.mark.parametrize(("name", "found"), [("C++", "cpp"), ("js", "javascript"), ("go", "go")])
def test_languages_are_found_by_alias_in_any_case(name: str, found: str) -> None:
    assert get(name).name == found


def test_an_unknown_language_is_an_error_that_suggests_one() -> None:
    with pytest.raises(UnknownLanguage, match="did you mean 'haskell'"):
        get("haskel")
