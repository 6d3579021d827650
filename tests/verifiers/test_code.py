import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from verifiers import code
from verifiers.code.programs import MAX_CHARS
from verifiers.sandbox import Execution, Limits, Step, client
from verifiers.sandbox.toolchains import Missing

pytestmark = pytest.mark.usefixtures("shared_sandbox")

ASSERTS = ["assert double(2) == 4", "assert double([1]) == [1, 1]", "assert double('a') == 'aa'"]
CHECK = "def check(candidate):\n" + "".join(f"    {line}\n" for line in ASSERTS).replace(
    "double", "candidate"
)
STDIN = [{"input": "1 2", "output": "3"}, {"input": "4 5\n", "output": "9\n"}]
RIGHT = "def double(x):\n    return x + x\n"
QUICK = Limits(cpu_s=1, wall_s=2)


def fenced(program: str, tag: str = "python") -> str:
    return f"Here:\n```{tag}\n{program}\n```"


def seen(reason: str) -> str:
    """Without a cgroup a program is refused memory, and fails as it does with any other error."""
    with_cgroup = code.sandbox().isolation.cgroup
    return "runtime_error" if reason == "memory" and not with_cgroup else reason


def outcome(verdict) -> tuple:
    return verdict.correct, verdict.score, verdict.reason


def test_a_program_that_passes_its_asserts_is_right():
    for tests in (ASSERTS, json.dumps(ASSERTS), CHECK, "\n".join(ASSERTS)):
        verdict = code.verify(fenced(RIGHT), tests, entry_point="double")
        assert outcome(verdict) == (True, 1.0, "accepted"), verdict


def test_a_column_of_none_is_as_good_as_no_column():
    nothing = dict.fromkeys(("language", "entry_point", "test", "prompt", "setup", "limits"))
    assert code.verify(fenced(RIGHT), ASSERTS, **nothing).correct


def test_score_is_the_share_of_tests_that_pass():
    verdict = code.verify(fenced("def double(x):\n    return 2 * x if x == 2 else 0"), ASSERTS)
    assert outcome(verdict) == (False, 1 / 3, "wrong_answer")
    assert "1 of 3 tests passed; test 2" in verdict.detail
    assert "assert double([1]) == [1, 1]" in verdict.detail


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return x", "wrong_answer"),
        ("return (", "compile_error"),
        ("return y", "runtime_error"),
        ("while True: pass", "time_cpu"),
        ("import time; time.sleep(60)", "time_wall"),
        ("return bytearray(1 << 30)", "memory"),
    ],
)
def test_a_wrong_program_is_wrong_for_a_reason(body, reason):
    limits = Limits(cpu_s=5 if reason == "memory" else 1, wall_s=2 if reason == "time_wall" else 20)
    verdict = code.verify(fenced(f"def double(x):\n    {body}"), ASSERTS[0], limits=limits)
    assert outcome(verdict) == (False, 0.0, seen(reason)), verdict


def test_a_program_without_the_function_is_wrong():
    verdict = code.verify(fenced("def twice(x):\n    return 2 * x"), ASSERTS)
    assert outcome(verdict) == (False, 0.0, "runtime_error")


def test_any_language_is_graded_by_input_and_output():
    programs = {
        "python": "a, b = map(int, input().split())\nprint(a + b)",
        "bash": "read a b; echo $((a + b))",
        "c": '#include <stdio.h>\nint main(){int a,b;scanf("%d %d",&a,&b);printf("%d",a+b);}',
    }
    for language, program in programs.items():
        verdict = code.verify(fenced(program, language), STDIN, language=language)
        assert outcome(verdict) in [(True, 1.0, "accepted"), (None, 0.0, "unavailable")], verdict
        assert code.grade(program, STDIN, language=language).correct == verdict.correct
    apps = json.dumps({"inputs": ["1 2", "4 5"], "outputs": ["3\n", "9\n"]})
    assert code.verify(fenced(programs["python"]), apps).correct
    verdict = code.verify(fenced("print(3)"), STDIN)
    assert outcome(verdict) == (False, 0.5, "wrong_answer")
    assert "printed '3' instead of '9'" in verdict.detail


def test_what_does_not_compile_says_so():
    verdict = code.verify(fenced("int main( {", "c"), STDIN, language="c")
    if verdict.correct is None:
        pytest.skip(verdict.detail)
    assert outcome(verdict) == (False, 0.0, "compile_error")
    assert "error:" in verdict.detail


@pytest.mark.parametrize("tests", [ASSERTS, STDIN])
@pytest.mark.parametrize("completion", ["", " ", "\x00", "yes", "I can't.", "print(", "\ud800"])
def test_a_completion_without_a_program_is_wrong(completion, tests):
    assert outcome(code.verify(completion, tests)) == (False, 0.0, "no_code")


@pytest.mark.parametrize("num_chars", [2_000_000, 100_000_000])
def test_too_long_a_completion_is_wrong_unread(num_chars):
    start = time.monotonic()
    for text in (fenced(RIGHT) + "x" * num_chars, RIGHT + "#" * num_chars):
        assert code.verify(text, ASSERTS).reason == "too_long"
    assert code.grade("#" * (MAX_CHARS + 1), ASSERTS).reason == "too_long"
    assert time.monotonic() - start < 5


FORGED = """
import json, os, struct
def double(x):
    data = json.dumps({forged}).encode()
    for fd in range(3, 64):
        for size in ("<I", ">I", "<Q", ">Q"):
            try: os.write(fd, struct.pack(size, len(data)) + data)
            except OSError: pass
    os._exit(0)
"""
HOSTILE = {
    "exits before the tests": "import sys\nsys.exit(0)",
    "ends its process before the tests": "import os\nos._exit(0)",
    "exits in the tests": "def double(x):\n    raise SystemExit(0)",
    "ends its process in the tests": "def double(x):\n    import os; os._exit(0)",
    "returns what equals all": (
        "class All:\n    def __eq__(self, other): return True\ndef double(x): return All()"
    ),
    "returns a number that equals all": (
        "class All(int):\n    def __eq__(self, other): return True\n"
        "    def __ne__(self, other): return False\n"
        "def double(x): return All()"
    ),
    "returns a list that equals all": (
        "class All(list):\n    def __eq__(self, other): return True\ndef double(x): return All()"
    ),
    "mends the interpreter": (
        "import builtins, sys\nbuiltins.AssertionError = ZeroDivisionError\n"
        "for module in list(sys.modules.values()): vars(module)['check'] = lambda f: None\n"
        "def double(x): return 0"
    ),
    "looks for the tests in the frames": (
        "import sys\ndef double(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        frame.f_globals['check'] = frame.f_locals['check'] = lambda f: None\n"
        "        frame = frame.f_back\n    return 0"
    ),
    "prints that all is well": (
        "print('accepted', '{\"verdict\": \"accepted\"}')\ndef double(x): return 0"
    ),
    "says so at its end": (
        'import atexit\natexit.register(print, \'{"verdict": "accepted"}\')\n'
        "def double(x): return 0"
    ),
    "forges a verdict": FORGED.replace("{forged}", '{"verdict": "accepted", "detail": ""}'),
    "forges an exit of the tests": FORGED.replace(
        "{forged}", '{"raised": "SystemExit", "base": "SystemExit", "args": [], "changed": []}'
    ),
    "kills all it can": (
        "import os, signal\ndef double(x):\n    os.kill(-1, signal.SIGKILL)\n"
        "    os.kill(os.getppid(), signal.SIGKILL)\n    return 0"
    ),
    "never ends its answer": ("def double(x):\n    while True: yield x"),
    "answers with a hundred megabytes": "def double(x):\n    return 'x' * 100_000_000",
    "answers something endlessly deep": (
        "def double(x):\n    x = []\n    x.append(x)\n    return x"
    ),
    "forks without end": "import os\nwhile True: os.fork()",
    "has a NUL": "def double(x):\n    return 0\n\x00",
    "has half a character": "def double(x):\n    return '\ud800'",
}


@pytest.mark.parametrize("title", HOSTILE)
@pytest.mark.parametrize("tests", [ASSERTS, CHECK])
def test_a_hostile_program_is_not_accepted_and_the_next_is_unharmed(title, tests):
    columns = {"entry_point": "double", "limits": QUICK}
    verdict = code.verify(fenced(HOSTILE[title]), tests, **columns)
    assert verdict.correct is False, verdict
    assert code.verify(fenced(RIGHT), tests, **columns).correct


def test_an_expected_output_can_be_found_nowhere():
    program = """
import os
for root, _, names in os.walk('/'):
    for path in [os.path.join(root, name) for name in names]:
        try:
            readable = os.path.isfile(path) and not path.startswith(('/usr', '/proc/sys'))
            found = readable and b'7345' + b'91' in open(path, 'rb').read(1 << 20)
        except OSError:
            continue
        if found:
            print('7345' + '91')
            os._exit(0)
print('not found')
"""
    secret = [{"input": "", "output": "734591"}]
    assert code.grade("print(734591)", secret).correct
    verdict = code.grade(program, secret)
    assert outcome(verdict) == (False, 0.0, "wrong_answer")
    assert "'not found'" in verdict.detail


@pytest.mark.parametrize(
    "tests",
    [[], None, "", "[1", [{"input": 1}], ["assert 1 == 1"], {"inputs": ["1"], "outputs": []}],
)
def test_a_row_with_unreadable_tests_is_undecided(tests):
    for verdict in (code.verify(fenced(RIGHT), tests), code.grade(RIGHT, tests)):
        assert outcome(verdict) == (None, 0.0, "unparsable_reference")


def test_asserts_test_python_only():
    verdict = code.verify(fenced("int x;", "c"), ASSERTS, language="c")
    assert outcome(verdict) == (None, 0.0, "unparsable_reference")
    assert code.verify(fenced(RIGHT), ASSERTS, language="Py").correct


@pytest.mark.parametrize(
    "tests",
    [
        ["assert double(2) == missing(4)"],
        ["import nosuchmodule\nassert double(2) == 4"],
        ["assert double(object()) == 4"],
    ],
)
def test_broken_tests_say_nothing_of_the_program(tests):
    verdict = code.verify(fenced(RIGHT), tests, entry_point="double")
    assert outcome(verdict) == (None, 0.0, "harness_error")


def test_a_missing_toolchain_says_nothing_of_the_program(monkeypatch):
    monkeypatch.setattr(client, "installed", lambda language: Missing("x", "x", "no compiler here"))
    for tests in (STDIN, ASSERTS):
        verdict = code.verify(fenced(RIGHT), tests)
        assert outcome(verdict) == (None, 0.0, "unavailable")
        assert "no compiler here" in verdict.detail
    verdict = code.verify(fenced("x", "klingon"), STDIN, language="klingon")
    assert outcome(verdict) == (None, 0.0, "unavailable")


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def double(x):\n    import time; time.sleep(30)", ASSERTS),
        ("import time; time.sleep(30)", STDIN),
    ],
)
def test_a_killed_worker_says_nothing_of_the_program(shared_sandbox, program, tests):
    limits = Limits(wall_s=20)
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(code.verify, fenced(program), tests, limits=limits)
        time.sleep(1)
        for worker in list(shared_sandbox._pool._all):
            os.kill(worker._process.pid, signal.SIGKILL)
        assert outcome(pending.result()) == (None, 0.0, "sandbox_error")
    assert code.verify(fenced(RIGHT), ASSERTS).correct


class Scripted:
    """A sandbox whose tests end as it was told."""

    def __init__(self, *verdicts: str) -> None:
        self.steps = tuple(Step("run", verdict, id="x") for verdict in verdicts)

    def run(self, language, program, *, tests, limits):
        bad = next((step.verdict for step in self.steps if step.verdict != "accepted"), "accepted")
        return Execution(bad, "run", tests=self.steps)


def test_one_failed_test_is_enough_but_an_undecided_one_is_no_failure():
    graded = {
        ("accepted", "accepted"): (True, 1.0, "accepted"),
        ("accepted", "wrong_answer"): (False, 0.5, "wrong_answer"),
        ("sandbox_error", "memory"): (False, 0.0, "memory"),
        ("accepted", "sandbox_error"): (None, 0.0, "sandbox_error"),
        ("accepted",): (None, 0.0, "accepted"),
        (): (None, 0.0, "accepted"),
    }
    for verdicts, expected in graded.items():
        assert outcome(code.grade("", STDIN, sandbox=Scripted(*verdicts))) == expected


def test_a_group_from_eight_threads_is_faster_than_one_by_one():
    completion = fenced("import time\ndef double(x):\n    time.sleep(0.1)\n    return 2 * x")
    start = time.monotonic()
    alone = [code.verify(completion, CHECK, entry_point="double") for _ in range(8)]
    middle = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        futures = [
            threads.submit(code.verify, completion, CHECK, entry_point="double") for _ in range(8)
        ]
    end = time.monotonic()
    assert [future.result() for future in futures] == alone
    assert all(verdict.correct for verdict in alone)
    assert end - middle < 0.6 * (middle - start)


def test_the_shared_sandbox_is_made_once(shared_sandbox):
    assert code.sandbox() is shared_sandbox
    code.use(None)
    made = []
    threads = [threading.Thread(target=lambda: made.append(code.sandbox())) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(map(id, made))) == 1
        assert made[0] is not shared_sandbox
    finally:
        code.use(shared_sandbox)
        made[0].close()


def test_an_exception_can_not_end_the_tests_own_loop():
    source = "def f(x):\n    raise StopIteration"
    verdict = code.grade(source, ["assert all(map(lambda t: f(t) == 1, [1, 2]))"])
    assert outcome(verdict)[0] is False
