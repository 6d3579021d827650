"""Python jobs in forks of one interpreter: like fresh processes, and apart from each other."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import in_child

from verifiers.sandbox import Limits, Sandbox, Test, zygote
from verifiers.sandbox.slot import Slot
from verifiers.sandbox.warm import Engine

QUICK = Limits(cpu_s=1, wall_s=30)
SHORT = Limits(wall_s=1)


def output(sandbox, source, **options):
    execution = sandbox.script(source, **options)
    assert execution.verdict == "accepted", execution
    return execution.last.stdout.text


SCRIPTS = {
    "output": "print('a'); import sys; print('b', file=sys.stderr)",
    "input": "import sys\nprint(input(), sys.stdin.read())",
    "arguments": "import sys\nprint(sys.argv[1:])",
    "main": "if __name__ == '__main__': print(__name__, __import__('__main__').__name__)",
    "exit": "import sys\nprint(1)\nsys.exit(3)",
    "exit with text": "raise SystemExit('text')",
    "exit beyond a byte": "raise SystemExit(256 + 7)",
    "exit of the prompt's": "exit(4)",
    "exception": "def f():\n    1 / 0\n\nf()",
    "exception in a chain": "try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError from e",
    "syntax error": "x = = 1",
    "at exit": "import atexit\natexit.register(print, 'bye')\nprint('hi')",
    "thread": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
    "no newline": "import sys\nsys.stdout.write('x' * 5000)",
    "closed output": "import sys\nsys.stdout.close()",
    "bytes": "import sys\nsys.stdout.buffer.write(bytes(range(256)))",
    "surrogates": "print('\\udcff')",
    "child": "import subprocess\nprint(subprocess.run(['echo', 'x'], capture_output=True).stdout)",
    "multiprocessing": "import multiprocessing as m\n"
    "def f(x): return x + 1\n"
    "if __name__ == '__main__':\n    with m.Pool(2) as p: print(p.map(f, [1, 2]))",
    "dataclass": "import dataclasses\n@dataclasses.dataclass\nclass A: x: int = 1\nprint(A())",
    "pickle": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))))",
    "the interpreter's path": "import sys\nprint(sys.path[1:], sys.flags.utf8_mode)",
    "our own modules": "import plain",
    "nothing": "",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_as_it_does_in_a_process_of_its_own(sandbox, name):
    given = {"stdin": "first\nsecond\n"}
    warm = sandbox.script(SCRIPTS[name], args=["a", "b c"], **given)
    # In the cold engine, arguments come with tests only.
    cold = sandbox.run("python", SCRIPTS[name], tests=[Test("", given["stdin"], args=("a", "b c"))])
    assert warm.verdict == cold.verdict
    assert warm.last.exit_code == cold.last.exit_code
    assert warm.last.stdout == cold.last.stdout
    assert _shown(warm) == _shown(cold)


def _shown(execution):
    """Its stderr, but for where the file lies and where the marks below a line stand."""
    text = re.sub('"/.*/main.py"', '"main.py"', execution.last.stderr.text)
    return [line for line in text.splitlines() if line.strip(" ^~")]


ENDINGS = {
    "crash": ("import ctypes\nctypes.string_at(0)", "signal"),
    "endless recursion": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(_): return list(map(f, [0]))\nf(0)",
        "signal",
    ),
    "loop": ("while True: pass", "time_cpu"),
    "loop that ignores all signals": (
        "import signal\nfor s in set(signal.Signals) - {9, 19}: signal.signal(s, signal.SIG_IGN)\n"
        "while True: pass",
        "time_cpu",
    ),
    "sleep": ("import time\ntime.sleep(60)", "time_wall"),
    "flood": ("while True: print('x' * 99999)", "output_limit"),
    "large file": ("open('/tmp/x', 'wb').write(bytes(32 << 20))", "runtime_error"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_script_over_its_limits_is_ended(sandbox, name):
    source, expected = ENDINGS[name]
    execution = sandbox.script(source, limits=SHORT if name == "sleep" else QUICK)
    assert execution.verdict == expected, execution


def test_hash_seeds_and_so_the_order_of_sets_are_the_same_in_every_run(sandbox):
    source = "print({str(i) for i in range(99)})"
    assert output(sandbox, source) == output(sandbox, source)


def test_random_numbers_are_not(sandbox):
    source = "import random; print(random.random())"
    assert output(sandbox, source) != output(sandbox, source)


def test_nothing_stays_behind_for_the_next_job():
    leave = """
import os, subprocess, sys
for top, folders, _ in os.walk("/"):
    if top.startswith(("/proc", "/sys", "/usr")):
        folders.clear()
        continue
    try: open(top + "/left-behind", "w").close()
    except OSError: pass
import builtins, json
builtins.left_behind = json.left_behind = sys.left_behind = True
subprocess.Popen(["sleep", "60"], start_new_session=True)
"""
    look = """
import builtins, json, os, sys
found = [top for top, _, files in os.walk("/") if "left-behind" in files]
slept = any("sleep" in open(f"/proc/{p}/comm").read() for p in os.listdir("/proc") if p.isdigit())
print(found, slept, *(hasattr(m, "left_behind") for m in (builtins, json, sys)))
"""
    with Sandbox(workers=1) as one:
        output(one, leave)
        assert output(one, look).split() == ["[]", "False", "False", "False", "False"]


def test_a_job_has_no_rights_no_sockets_and_no_descriptors_but_its_own(sandbox):
    if sandbox.isolation.level < 2:
        pytest.skip("needs namespaces")
    source = """
import json, os, socket
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
try: sockets = bool(socket.socket())
except OSError: sockets = False
attempts = {}
for name, attempt in {
    "write": lambda: open("/usr/x", "w"),
    "remount": lambda: os.system("mount -o remount,rw / 2>/dev/null") and 1 / 0,
    "zygote": lambda: os.readlink("/proc/1/root/../1/fd/4"),
    "ptrace": lambda: open("/proc/2/mem", "rb"),
}.items():
    try: attempt(); attempts[name] = "done"
    except Exception: pass
print(json.dumps({
    "fds": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
    "pid": os.getpid(), "parent": os.getppid(), "sockets": sockets, "attempts": attempts,
    **{k: status[k].strip() for k in ("CapEff", "CapPrm", "CapAmb", "NoNewPrivs", "Seccomp")},
}))
"""
    found = json.loads(output(sandbox, source))
    assert found["fds"] == [0, 1, 2]
    assert (found["pid"], found["parent"], found["sockets"]) == (1, 0, False)
    assert {int(found[name], 16) for name in ("CapEff", "CapPrm", "CapAmb")} == {0}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert found["attempts"] == {}


def test_a_call_gives_plain_data_or_says_why_not(sandbox):
    source = "def f(a, *, b=()):\n    return {a: (b, {1.5})}\ndef g(): return open\ndef h(): 1 / 0"
    assert sandbox.call(source, "f", [1], {"b": [2]}).value == {1: ([2], {1.5})}
    assert sandbox.call(source, "g").detail.startswith("returned a builtin_function_or_method")
    assert sandbox.call(source, "h").detail == "ZeroDivisionError: division by zero (line 4)"
    assert sandbox.call("def f(:", "f").verdict == "compile_error"
    assert sandbox.call(source, "no").verdict == "runtime_error"
    assert sandbox.call("def f(): exit(0)", "f").verdict == "runtime_error"
    assert sandbox.call("def f(): return 'x' * (2 << 20)", "f").verdict == "output_limit"
    assert sandbox.call("def f():\n    while True: pass", "f", limits=QUICK).verdict == "time_cpu"


FORGED_ANSWERS = [
    b'{"value": {"eval": "1"}}',
    b'{"value": ' + b"[" * 100_000,
    b"rubbish",
    b'{"failed": "the sandbox"}',
    b'["value"]',
    b"fOSError",
]


@pytest.mark.parametrize("forged", FORGED_ANSWERS, ids=range(len(FORGED_ANSWERS)))
def test_a_forged_answer_is_the_programs_own_fault(sandbox, forged):
    source = (
        f"import os\ndef f():\n    for fd in range(3, 9):\n        try: os.write(fd, {forged!r})\n"
    )
    source += "        except OSError: pass\n    os._exit(0)"
    assert sandbox.call(source, "f").verdict == "runtime_error"


def test_a_zygote_is_replaced_after_so_many_children_and_after_its_death(sandbox):
    level = sandbox.isolation.level
    request = {"role": "script", "source": "pass", "limits": {**vars(Limits()), "wall_s": 5.0}}

    def act():
        slot = Slot(use_cgroup=level == 3)
        engine = Engine(slot, level)
        before = os.listdir("/proc/self/fd")
        zygote.MAX_CHILDREN = 4
        zygotes, replies = [], []
        for _ in range(9):
            replies.append(engine.run(request))
            zygotes += slot.kept.difference(zygotes)
            engine.idle()
        zygote.MAX_CHILDREN = 100
        os.kill(zygotes[-1], signal.SIGKILL)
        time.sleep(0.1)
        dead = engine.run(request)
        replies.append(engine.run(request))
        engine.close()
        slot.close()
        return {
            "exit codes": [reply["steps"][0]["exit_code"] for reply in replies],
            "zygotes": len(zygotes),
            "alive": [pid for pid in zygotes if os.path.exists(f"/proc/{pid}")],
            "dead": dead,
            "descriptors": len(os.listdir("/proc/self/fd")) - len(before),
        }

    found = in_child(act)
    assert found["exit codes"] == [0] * 10
    assert found["zygotes"] > 2
    assert found["alive"] == []
    assert "failed" in found["dead"]
    assert found["descriptors"] == 0


@pytest.mark.slow
def test_two_thousand_jobs_leave_nothing_behind():
    def fds_and_memory(pid):
        with open(f"/proc/{pid}/status") as status:
            rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        return len(os.listdir(f"/proc/{pid}/fd")), rss

    def descendants(pid):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(d for child in children for d in descendants(child))]

    def measured(keeper):
        time.sleep(0.5)  # the next children may be on their way
        return [fds_and_memory(pid) for pid in descendants(keeper)]

    with Sandbox(workers=1) as one:
        for _ in range(50):
            one.script("pass")
            one.examine("def f(): pass", ["f()"], "f")
        (worker,) = one._pool._all
        keeper = worker._process.pid
        before = measured(keeper)
        for i in range(1000):
            assert one.script("import os\nif os.fork(): os._exit(0)").verdict == "accepted"
            assert one.examine("def f(): pass", ["f()"], "f").verdict == "accepted", i
        for (fds, rss), (fds_then, rss_then) in zip(measured(keeper), before, strict=True):
            assert fds == fds_then
            assert rss < rss_then + 2000
        pids = descendants(keeper)
    time.sleep(0.5)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_a_script_costs_less_than_an_interpreter():
    plain = [sys.executable, "-I", "-S", "-c", "pass"]
    with Sandbox(workers=1) as one:
        one.script("pass")
        spent = [0.0, 0.0]
        for _ in range(200):
            times = [time.perf_counter()]
            one.script("pass")
            times.append(time.perf_counter())
            subprocess.run(plain, check=True)
            times.append(time.perf_counter())
            spent = [spent[i] + times[i + 1] - times[i] for i in (0, 1)]
    assert spent[1] > 1.3 * spent[0], spent  # about twice on an idle machine
