"""One program, one verdict; whatever is thrown at the sandbox, and at every level of it."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from verifiers.sandbox import Isolation, Limits, Sandbox, SandboxUnavailable, Test
from verifiers.sandbox.languages import get

MIB = 1 << 20
QUICK = Limits(cpu_s=1, wall_s=20)


@pytest.fixture(params=[3, 2, 1], scope="module")
def level(request):
    """A sandbox of each level; without namespaces only on request."""
    with Sandbox(max_level=request.param, min_level=1, workers=1) as made:
        if made.isolation.level < request.param:
            pytest.skip(made.isolation.why_not_more)
        yield made


VERDICTS = {
    "ends well": ("print('hello')", "accepted"),
    "raises": ("1 / 0", "runtime_error"),
    "exits with a code": ("import sys; sys.exit(3)", "runtime_error"),
    "kills itself": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal"),
    "spins": ("while True: pass", "time_cpu"),
    "sleeps": ("import time; time.sleep(60)", "time_wall"),
    "floods stdout": ("while True: print('x' * 1000)", "output_limit"),
    "floods stderr": ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "output_limit"),
    "writes too large a file": (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "import os; f = open(os.environ['TMPDIR'] + '/f', 'wb')\n"
        "while True: f.write(bytes(1 << 20))",
        "file_limit",
    ),
    "does not parse": ("def f(:", "runtime_error"),
}


@pytest.mark.parametrize("title", VERDICTS)
def test_each_end_has_its_verdict(level, title):
    source, expected = VERDICTS[title]
    limits = Limits(wall_s=1) if expected == "time_wall" else QUICK
    done = level.run("python", source, limits=limits)
    assert done.verdict == expected, done
    assert done.isolation == level.isolation
    assert done.accepted == (expected == "accepted") and done.decided


def test_too_much_memory_is_a_verdict_of_its_own_under_a_cgroup(level):
    done = level.run("python", "x = [bytearray(1 << 20) for _ in range(10_000)]", limits=QUICK)
    assert done.verdict == ("memory" if level.isolation.cgroup else "runtime_error")
    assert done.last.oom_kill == bool(level.isolation.cgroup)


def test_a_compiler_runs_before_the_program_and_its_errors_are_its_own(level):
    good = '#include <stdio.h>\nint main(void) { int n; scanf("%d", &n); printf("%d", 2 * n); }'
    done = level.run("c", good, tests=[Test("a", "2", expected_stdout="4"), Test("b", "5")])
    assert [step.stage for step in done.steps] == ["compile", "run", "run"]
    assert done.verdict == "accepted", done
    bad = level.run("c", "int main(void) { return x; }", tests=[Test("a"), Test("b")])
    assert (bad.verdict, bad.stage) == ("compile_error", "compile")
    assert [(test.id, test.verdict) for test in bad.tests] == [
        ("a", "compile_error"),
        ("b", "compile_error"),
    ]
    assert "x" in bad.last.stderr.text


def test_every_test_has_its_own_verdict_and_the_first_bad_one_decides(level):
    source = "n = int(input())\nprint(10 // n)"
    tests = [
        Test("right", "2", expected_stdout="5"),
        Test("wrong", "2", expected_stdout="6"),
        Test("crash", "0", expected_stdout="0"),
        Test("right again", "5", expected_stdout="2\n\n"),
    ]
    done = level.run("python", source, tests=tests)
    assert [(test.id, test.verdict) for test in done.tests] == [
        ("right", "accepted"),
        ("wrong", "wrong_answer"),
        ("crash", "runtime_error"),
        ("right again", "accepted"),
    ]
    assert done.verdict == "wrong_answer"


def test_a_test_leaves_nothing_behind_for_the_next(level):
    leave = (
        "import os, subprocess\n"
        "tmp = os.environ['TMPDIR']\n"
        "print(sorted(os.listdir(tmp)))\n"
        "os.makedirs(tmp + '/a/b/c'); open(tmp + '/a/f', 'w'); os.chmod(tmp + '/a/b', 0)\n"
        "subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
    )
    done = level.run("python", leave, tests=[Test(str(i)) for i in range(3)])
    outputs = [test.stdout.text for test in done.tests]
    if level.isolation.level >= 2:
        assert outputs == ["[]\n"] * 3, done
    assert max(test.wall_s for test in done.tests) < 5


def test_arguments_several_files_and_bytes_arrive_as_given(level):
    files = {
        "main.py": "import sys, data.more\nprint(sys.argv[1:], data.more.X, flush=True)\n"
        "sys.stdout.buffer.write(sys.stdin.buffer.read())",
        "data/more.py": "X = 'ü'",
    }
    done = level.run("python", files, tests=[Test("a", b"\xff\x00\n", args=("--flag", "{w} ä"))])
    assert done.last.stdout.data == "['--flag', '{w} ä'] ü\n".encode() + b"\xff\x00\n", done


def test_what_ran_and_behind_which_walls_is_written_into_every_result(sandbox):
    done = sandbox.run("python", "print(1)")
    assert done.toolchain.startswith("python3: Python 3")
    assert done.isolation.level >= 2 and len(done.isolation.seccomp) == 16
    again = sandbox.run("python", "print(1)")
    other = sandbox.run("python", "print(2)")
    assert done.code_sha256 == again.code_sha256 != other.code_sha256


@pytest.mark.parametrize("language", ["klingon", "", "pyton"])
def test_an_unknown_language_is_unavailable_and_not_wrong(sandbox, language):
    done = sandbox.run(language, "x")
    assert done.verdict == "unavailable" and not done.decided
    assert "unknown language" in done.detail


def test_too_large_an_input_is_refused_whole(sandbox):
    done = sandbox.run("python", "# " + "x" * (100 * MIB))
    assert done.verdict == "harness_error" and "bytes" in done.detail


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a\0b", "./x"])
def test_a_file_name_that_leads_out_is_refused(sandbox, name):
    with pytest.raises(ValueError, match="relative"):
        sandbox.run("python", {name: "pass"})


def test_nul_bytes_are_a_verdict(sandbox):
    assert sandbox.run("python", "print(1)\0").decided
    assert sandbox.run("c", "int main(void) {\0}").decided
    assert sandbox.run("python", "print(1)", tests=[Test("a", args=("x\0y",))]).verdict in (
        "harness_error",
        "sandbox_error",
    )
    assert sandbox.run("python", "print(1)").accepted


def test_a_full_disk_is_the_programs_own_error(sandbox):
    source = (
        "import itertools, os\n"
        "for i in itertools.count():\n"
        "    with open(f'/tmp/{i}', 'wb') as f: f.write(bytes(4 << 20))\n"
    )
    done = sandbox.run("python", source, limits=Limits(disk_bytes=16 * MIB))
    assert done.verdict == "runtime_error" and "No space left" in done.last.stderr.text
    assert sandbox.run("python", "print(1)").accepted


def test_static_checks_find_errors_without_running_the_program(sandbox):
    assert sandbox.check("python", "print(1)").accepted
    assert sandbox.check("python", "def f(:").verdict == "static_error"
    assert sandbox.check("c", "int main(void) { return 0; }").accepted
    assert sandbox.check("c", "int main(void) { return x; }").verdict == "static_error"


def test_a_killed_keeper_costs_its_job_and_no_other():
    with Sandbox(workers=1) as sandbox:
        threading.Timer(0.7, lambda: _kill_children(os.getpid())).start()
        done = sandbox.run("python", "import time; time.sleep(30)")
        assert done.verdict == "sandbox_error" and not done.decided
        assert sandbox.run("python", "print(1)").accepted


def _kill_children(pid):
    children = f"/proc/{pid}/task/{pid}/children"
    with open(children) as listed:
        for child in listed.read().split():
            with open(f"/proc/{child}/cmdline", "rb") as line:
                if b"verifiers.sandbox.keeper" in line.read():
                    os.kill(int(child), signal.SIGKILL)


def test_waiting_for_a_free_place_is_not_charged(sandbox):
    source = "import time; time.sleep(1); print(input())"
    with ThreadPoolExecutor(8) as threads:
        limits = Limits(wall_s=2.5)
        done = threads.map(
            lambda i: sandbox.run("python", source, stdin=str(i), limits=limits), range(8)
        )
    for i, execution in enumerate(done):
        assert execution.accepted and execution.last.stdout.text == f"{i}\n", execution


def test_a_forked_child_has_workers_of_its_own(sandbox):
    sandbox.run("python", "print(1)")
    pid = os.fork()
    if pid == 0:
        fine = sandbox.run("python", "print(2)").last.stdout.text == "2\n"
        sandbox.close()
        os._exit(0 if fine else 1)
    assert sandbox.run("python", "print(3)").last.stdout.text == "3\n"
    assert os.waitpid(pid, 0)[1] == 0


def test_a_daemon_dies_with_its_job(sandbox):
    mark = f"align-test-{os.getpid()}-{time.monotonic_ns()}"
    source = (
        "import os, subprocess\n"
        f"subprocess.Popen(['sleep', '600'], start_new_session=True, env={{'MARK': '{mark}'}})\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execve('/bin/sleep', ['{mark}', '600'], {{}})\n"
        "else:\n"
        "    print('started')"
    )
    done = sandbox.run("python", source)
    assert done.accepted and done.last.stdout.text == "started\n"
    assert not _processes_with(mark)


def _processes_with(mark):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    if mark.encode() in file.read():
                        found.append(pid)
            except OSError:
                pass
    return [pid for pid in found if int(pid) != os.getpid()]


def test_levels_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="levels"):
        Sandbox(min_level=3, max_level=2)


def test_limits_must_be_above_zero():
    with pytest.raises(ValueError, match="cpu_s"):
        Limits(cpu_s=0)


@pytest.mark.parametrize(("found", "way"), [(1, "min_level=1"), (0, "allow_unsandboxed=True")])
def test_what_isolates_less_than_asked_for_is_refused_with_the_way_out(monkeypatch, found, way):
    walls = Isolation(found, why_not_more="level 2: bubblewrap is not installed")
    monkeypatch.setattr(Sandbox, "isolation", walls)
    with pytest.raises(SandboxUnavailable, match=f"bubblewrap is not installed.*{way}"):
        Sandbox()
    with Sandbox(min_level=1, allow_unsandboxed=True) as accepted:
        assert accepted.isolation.level == found  # and every result says so


MAIN = (
    "{public static void main(String[] a)"
    "{System.out.println(new java.util.Scanner(System.in).nextInt());}}"
)


@pytest.mark.parametrize(
    "source",
    [
        f"public class Solution {MAIN}",
        f"class Solution {MAIN}",
        f"class Helper {{int x;}}\nclass Solution {MAIN}\nclass Other {{int y;}}",
    ],
)
def test_a_java_file_is_called_after_its_class(sandbox, source):
    done = sandbox.run("java", source, tests=[Test("a", "7", expected_stdout="7")])
    if done.verdict == "unavailable":
        pytest.skip(done.detail)
    assert done.accepted, done.last.stderr.text


def test_memory_of_runtimes_that_reserve_much_is_limited_without_a_cgroup_too(level):
    hog = "const x = []; for (let i = 0; i < 4000; i++) x.push(Buffer.alloc(1 << 20, 1));"
    done = level.run("javascript", hog)
    if done.verdict == "unavailable":
        pytest.skip(done.detail)
    assert not done.accepted and done.decided
    assert done.last.memory_peak_bytes < 2.5 * (1 << 30)


def test_what_a_test_expects_is_not_taken_for_its_arguments():
    with pytest.raises(TypeError):
        Test("a", "1 2", "3")


def test_a_source_made_to_be_slow_to_name_is_not():
    java = get("java")
    started = time.monotonic()
    for piece in ("class a\n", "public\n", "public class\n", " \n", "final ", "static void main"):
        java.file_of(piece * (200_000 // len(piece)))
    assert time.monotonic() - started < 5
