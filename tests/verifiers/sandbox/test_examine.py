"""Tests that a program can't talk round, asked of programs that try."""

import pytest

from verifiers.sandbox import Limits

QUICK = Limits(cpu_s=1, wall_s=30)
SHORT = Limits(wall_s=1)
CHECK = "assert candidate(1) == 'expected-1'\nassert candidate(2) == 'expected-2'"
HONEST = "def f(n):\n    return f'expected-{n}'"


def verdict(sandbox, solution, test=CHECK, *, names="f", **options):
    (step,) = sandbox.examine(solution, [test], names, **options).tests
    return step


def test_a_right_program_is_accepted_and_a_wrong_one_is_not(sandbox):
    right = verdict(sandbox, HONEST)
    assert (right.verdict, right.detail) == ("accepted", "")
    wrong = verdict(sandbox, "def f(n):\n    return 'expected-1'")
    assert wrong.verdict == "wrong_answer"
    assert "assert candidate(2) == 'expected-2'" in wrong.detail


def test_each_test_has_a_verdict_of_its_own_and_a_fresh_program(sandbox):
    counts = "calls = []\ndef f():\n    calls.append(0)\n    return len(calls)"
    tests = ["assert f() == 1\nassert f() == 2", "assert f() == 2", "assert f() == 1"]
    steps = sandbox.examine(counts, tests, "f").tests
    assert [step.verdict for step in steps] == ["accepted", "wrong_answer", "accepted"]


FORGERIES = {
    "equal to all": "class E:\n    def __eq__(s, o): return True\ndef f(n): return E()",
    "an equal string": (
        "class E(str):\n    def __eq__(s, o): return True\n    __hash__ = str.__hash__\n"
        "def f(n): return E('x')"
    ),
    "an equal number": (
        "class E(int):\n    def __eq__(s, o): return True\n    __hash__ = int.__hash__\n"
        "def f(n): return E(0)"
    ),
    "exit at once": "import sys\nsys.exit(0)",
    "exit in the call": "import sys\ndef f(n): sys.exit(0)",
    "hard exit at once": "import os\nos._exit(0)",
    "hard exit in the call": "import os\ndef f(n): os._exit(0)",
    "exit later": "import atexit, os\natexit.register(os._exit, 0)\ndef f(n): raise SystemExit",
    "a printed verdict": (
        "import sys\nfor s in (sys.stdout, sys.stderr, sys.__stdout__):\n"
        '    print(\'{"verdict": "accepted", "detail": ""}\', file=s, flush=True)\n'
        "def f(n): return 0"
    ),
    "a verdict to every descriptor": (
        "import os, struct\n"
        'v = b\'{"verdict": "accepted", "detail": ""}\'\n'
        "for m in (v, b'r' + v, struct.pack('!Q', len(v)) + v):\n"
        "    for fd in range(256):\n"
        "        try: os.write(fd, m)\n"
        "        except OSError: pass\n"
        "def f(n): return 0"
    ),
    "frames": (
        "import sys\ndef f(n):\n    frame = sys._getframe()\n    while frame:\n"
        "        for v in [*frame.f_locals.values(), *frame.f_globals.values()]:\n"
        "            if isinstance(v, dict):\n"
        "                v.update(verdict='accepted', detail='', finding=None)\n"
        "        frame = frame.f_back"
    ),
    "builtins": (
        "import builtins, json, socket, os\nbuiltins.AssertionError = KeyError\n"
        "builtins.isinstance = lambda *a: True\njson.dump = json.dumps = lambda *a, **k: '{}'\n"
        "os._exit = print\ndef f(n): return 0"
    ),
    "expected values in memory": (
        "import gc, re\ndef f(n):\n    found = [s for o in gc.get_objects() for s in\n"
        "        re.findall('expected-[12]', str(o)[:99999])]\n"
        "    with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as mem:\n"
        "        for line in maps:\n"
        "            if 'rw' in line:\n"
        "                low, high = (int(x, 16) for x in line.split()[0].split('-'))\n"
        "                mem.seek(low)\n"
        "                found += re.findall(rb'expected' + b'-[12]', mem.read(high - low))\n"
        "    return found[n - 1]"
    ),
    "other processes": (
        "import os\ndef f(n):\n    pids = [p for p in os.listdir('/proc') if p.isdigit()]\n"
        "    return 'expected-%d' % n if len(pids) > 1 else pids"
    ),
    "kill all": "import os\ndef f(n):\n    os.kill(-1, 9)\n    os._exit(0)",
    "stop": "import os, signal\ndef f(n):\n    os.kill(os.getpid(), signal.SIGSTOP)",
    "closed descriptors": "import os\ndef f(n):\n    os.closerange(0, 256)",
    "no number equals it": "def f(n): return float('nan')",
    "a generator": "def f(n):\n    while True: yield f'expected-{n}'",
    "deep data": "def f(n):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
    "a repr without end": "class R:\n    def __repr__(s): return repr(s)\ndef f(n): return R()",
    "an exception with its own ideas": (
        "class X(Exception):\n    def __str__(s): raise SystemExit(0)\ndef f(n): raise X"
    ),
    "no function": "f = 'expected-1'",
    "nothing": "",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_no_forgery_is_accepted_or_undecided(sandbox, name):
    if name == "other processes" and sandbox.isolation.level < 2:
        pytest.skip("needs namespaces")
    step = verdict(sandbox, FORGERIES[name], limits=Limits(cpu_s=1, wall_s=5))
    assert step.verdict in {"wrong_answer", "runtime_error", "signal", "time_wall"}, step


ENDINGS = {
    "a syntax error": ("def f(n) return", "compile_error"),
    "a broken import": ("import no_such_module", "runtime_error"),
    "an exception": ("def f(n): return {}[n]", "runtime_error"),
    "another name": ("def g(n): return n", "runtime_error"),
    "a crash": ("import ctypes\ndef f(n): ctypes.string_at(0)", "signal"),
    "a loop": ("def f(n):\n    while True: pass", "time_cpu"),
    "a loop at once": ("while True: pass", "time_cpu"),
    "a long sleep": ("import time\ndef f(n): time.sleep(60)", "time_wall"),
    "a long answer": ("def f(n): return 'x' * (2 << 20)", "output_limit"),
    "printing without end": ("def f(n):\n    while True: print('x' * 9999)", "time_cpu"),
    "a forged length": (
        "import os\ndef f(n):\n    for fd in range(3, 20):\n"
        "        try: os.write(fd, b'\\x7f' * 64)\n"
        "        except OSError: pass",
        "runtime_error",
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_program_that_fails_says_how(sandbox, name):
    solution, expected = ENDINGS[name]
    step = verdict(sandbox, solution, limits=SHORT if "sleep" in name else QUICK)
    assert step.verdict == expected, step


def test_too_much_memory_is_known_as_such(sandbox):
    step = verdict(sandbox, "def f(n): return len(bytearray(1 << 30))")
    assert step.verdict == ("memory" if sandbox.isolation.level == 3 else "runtime_error")


def test_a_fork_bomb_is_stopped_and_the_next_program_runs(sandbox):
    bomb = "import os\ndef f(n):\n    while True: os.fork()"
    assert verdict(sandbox, bomb, limits=QUICK).verdict in {"pids_limit", "runtime_error"}
    assert verdict(sandbox, HONEST).verdict == "accepted"


def test_exceptions_arrive_as_what_they_are(sandbox):
    solution = """
class Mine(LookupError): pass
def f(kind):
    if kind == "mine": raise Mine("text", 3)
    if kind == "unicode": b"\\xff".decode()
    if kind == "plain": raise Exception(object())
    raise ValueError("no " + kind)
"""
    test = """
for kind, expected, text in [("x", ValueError, "no x"), ("mine", LookupError, None)]:
    try: f(kind)
    except expected as error: assert text is None or str(error) == text
    else: assert False
for kind, name in [("mine", "Mine"), ("unicode", "UnicodeDecodeError"), ("plain", "Exception")]:
    try: f(kind)
    except Exception as error: assert type(error).__name__ == name
    else: assert False
"""
    assert verdict(sandbox, solution, test).verdict == "accepted"


def test_an_exception_nobody_expects_names_itself_and_its_line(sandbox):
    step = verdict(sandbox, "def f(n):\n    assert n > 5, 'too small'\n")
    assert step.verdict == "runtime_error"
    assert step.detail == "AssertionError: too small (line 2)"


def test_changes_of_arguments_are_seen(sandbox):
    solution = "def f(a, b, *, c):\n    a.sort(); b.clear(); c.add(9)\n    return a"
    test = """
a, b, c = [3, 1], {1: 2}, {7}
assert f(a, b, c=c) == [1, 3]
assert a == [1, 3] and b == {} and c == {7, 9}
"""
    assert verdict(sandbox, solution, test).verdict == "accepted"


def test_setup_and_call_are_the_tests_own(sandbox):
    step = verdict(
        sandbox,
        "def f(n):\n    return secret + n",
        "def check(candidate):\n    assert candidate(1) == secret + 1",
        setup="secret = 5\ndef f(n): ...",
        call="check(candidate)",
    )
    assert (step.verdict, step.detail) == (
        "runtime_error",
        "NameError: name 'secret' is not defined (line 2)",
    )


def test_several_functions_can_be_tested_together(sandbox):
    solution = "def up(x): return x + 1\ndef down(x): return x - 1"
    step = verdict(sandbox, solution, "assert down(up(3)) == 3", names=["up", "down"])
    assert step.verdict == "accepted"


BROKEN = {
    "a syntax error": "assert candidate(1) ==",
    "an unknown name": "assert candidate(1) == undefined_name",
    "a missing module": "import no_such_module\nassert candidate(1)",
    "an exception of its own": "{}['x']\nassert candidate(1)",
    "no call": "assert True",
    "no call but a pass": "def check(candidate): assert candidate(1) == 2",
    "nothing": "",
    "a call with no plain data": "assert candidate(lambda: 1) == 1",
    "the end of its process": "import os\ncandidate(1)\nos._exit(0)",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_test_is_no_fault_of_the_program(sandbox, name):
    assert verdict(sandbox, HONEST, BROKEN[name]).verdict == "harness_error"


def test_an_answer_that_the_test_can_not_handle_is_wrong(sandbox):
    step = verdict(sandbox, "def f(n): pass", "assert candidate(1)[0] == 1")
    assert step.verdict == "wrong_answer"
    assert "TypeError" in step.detail


def test_a_test_that_catches_all_still_fails_a_program_that_has_ended(sandbox):
    test = "try: candidate(1)\nexcept BaseException: pass"
    assert verdict(sandbox, "import os\ndef f(n): os._exit(0)", test).verdict == "runtime_error"
