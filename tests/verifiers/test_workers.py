import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from verifiers.workers import WorkerFailure, WorkerPool

MODULE = """
import os, time

def prepare(greeting="hello"):
    global GREETING
    GREETING = greeting
    print("printed at the start")

def handle(request):
    print("printed among the replies")
    match request["do"]:
        case "echo":
            time.sleep(request.get("s", 0))
            return {"said": request["value"], "pid": os.getpid(), "greeting": GREETING}
        case "hang":
            time.sleep(60)
        case "die":
            os._exit(7)
        case "raise":
            raise KeyError("no such thing")
        case "list":
            return [1, 2]
        case "nonsense":
            for fd in range(3, 64):
                try:
                    os.write(fd, b"not a message at all")
                except OSError:
                    pass
            return {}
"""


@pytest.fixture
def make_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    (tmp_path / "worker_under_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    pools = []

    def make(size: int = 2, **settings: object) -> WorkerPool:
        pools.append(WorkerPool("worker_under_test", size, **settings))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def _echo(value: object, s: float = 0) -> dict:
    return {"do": "echo", "value": value, "s": s}


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _ends(pid: int, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _is_running(pid)


def test_each_of_500_requests_from_16_threads_gets_its_own_reply(make_pool) -> None:
    pool = make_pool(3)
    with ThreadPoolExecutor(16) as threads:
        replies = list(threads.map(lambda n: pool.call(_echo(n), 30.0), range(500)))
    assert [reply["said"] for reply in replies] == list(range(500))
    assert len({reply["pid"] for reply in replies}) <= 3


def test_a_worker_persists_and_is_prepared_with_the_settings(make_pool) -> None:
    pool = make_pool(1, greeting="good day")
    replies = [pool.call(_echo(text), 30.0) for text in ("a", "\ud800\x00", "x" * 1_000_000)]
    assert [reply["said"] for reply in replies] == ["a", "\ud800\x00", "x" * 1_000_000]
    assert {reply["greeting"] for reply in replies} == {"good day"}
    assert len({reply["pid"] for reply in replies}) == 1


def test_a_worker_is_replaced_after_so_many_requests(make_pool) -> None:
    pool = make_pool(1, recycle_after=2)
    pids = [pool.call(_echo(n), 30.0)["pid"] for n in range(5)]
    assert len(set(pids)) == 3 and pids[0] == pids[1]
    assert _ends(pids[0])


@pytest.mark.parametrize(
    ("request_", "reason", "detail"),
    [
        ("hang", "timeout", "no answer in time"),
        ("die", "worker_died", "exit status 7"),
        ("raise", "worker_error", "KeyError: 'no such thing'"),
        ("list", "worker_error", "object"),
        ("nonsense", "worker_error", "can't be read"),
    ],
)
def test_a_failure_is_named_and_the_next_request_unharmed(
    make_pool, request_: str, reason: str, detail: str
) -> None:
    pool = make_pool(1)
    pool.call(_echo("warm"), 30.0)
    started = time.monotonic()
    with pytest.raises(WorkerFailure, match=detail) as failure:
        pool.call({"do": request_}, 0.5)
    assert failure.value.reason == reason
    assert time.monotonic() - started < 3.0
    assert pool.call(_echo("next"), 30.0)["said"] == "next"


def test_the_clock_starts_with_the_work_and_not_in_the_queue(make_pool) -> None:
    pool = make_pool(1)
    pool.call(_echo("warm"), 30.0)
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda n: pool.call(_echo(n, s=0.2), 0.9), range(8)))
    assert [reply["said"] for reply in replies] == list(range(8))


def test_map_keeps_order_and_holds_each_failure_where_it_happened(make_pool) -> None:
    requests = [_echo(0), {"do": "hang"}, _echo(2), {"do": "die"}, _echo(4)]
    replies = make_pool(2).map(requests, 1.0)
    assert [reply["said"] for reply in replies[::2]] == [0, 2, 4]
    assert [reply.reason for reply in replies[1::2]] == ["timeout", "worker_died"]
    assert make_pool(2).map([], 1.0) == []


def test_no_process_is_left_after_close_and_the_pool_can_go_on(make_pool) -> None:
    pool = make_pool(2)
    pid = pool.call(_echo(1), 30.0)["pid"]
    pool.close()
    assert _ends(pid)
    assert pool.call(_echo(2), 30.0)["pid"] != pid


def test_a_forked_child_has_workers_of_its_own(make_pool) -> None:
    pool = make_pool(1)
    pid = pool.call(_echo("parent"), 30.0)["pid"]
    child = os.fork()
    if child == 0:
        try:
            reply = pool.call(_echo("child"), 30.0)
            os._exit(0 if reply["said"] == "child" and reply["pid"] != pid else 1)
        finally:
            os._exit(2)
    assert pool.call(_echo("at the same time"), 30.0)["pid"] == pid
    assert os.waitpid(child, 0)[1] == 0
    assert pool.call(_echo("afterwards"), 30.0)["pid"] == pid


def test_no_process_is_left_when_the_parent_is_killed(make_pool, tmp_path: Path) -> None:
    script = f"""
import sys, time
sys.path[:] = {sys.path!r}
from verifiers.workers import WorkerPool
pool = WorkerPool("worker_under_test", 1)
print(pool.call({{"do": "echo", "value": 1}}, 30.0)["pid"], flush=True)
time.sleep(60)
"""
    make_pool()
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    pid = int(parent.stdout.readline())
    assert _is_running(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert _ends(pid)


def test_modules_of_the_working_folder_are_not_loaded(make_pool, tmp_path, monkeypatch):
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "json.py").write_text("raise SystemExit('foreign code')")
    monkeypatch.chdir(folder)
    assert make_pool(1).call(_echo(1), 30)["said"] == 1


def test_a_relative_place_on_the_path_is_found_after_a_change_of_folder(tmp_path):
    root = Path(__file__).parents[2]
    (tmp_path / "verifiers").symlink_to(root / "verifiers")
    script = (
        "import verifiers, os; os.chdir('/');"
        "print(verifiers.math.verify(r'\\boxed{x+1}', '1+x').correct)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert done.stdout.split() == [b"True"], done.stderr


def test_a_module_that_can_not_be_loaded_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_worker.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(WorkerFailure, match="no_such_package") as failure:
        WorkerPool("broken_worker", 1).call({}, 30)
    assert failure.value.reason == "cannot_start"
