import time

import pytest

from verifiers import code, functions
from verifiers.sandbox import Limits

pytestmark = pytest.mark.usefixtures("shared_sandbox")

ENDS_WITH_STOP = "def evaluate(response):\n    return response.strip().endswith('.')\n"


def seen(reason: str) -> str:
    """Without a cgroup a program is refused memory, and fails as it does with any other error."""
    with_cgroup = code.sandbox().isolation.cgroup
    return "runtime_error" if reason == "memory" and not with_cgroup else reason


def outcome(verdict) -> tuple:
    return verdict.correct, verdict.score, verdict.reason


def test_true_is_right_and_false_is_wrong():
    assert outcome(functions.verify("It is.", ENDS_WITH_STOP)) == (True, 1.0, "followed")
    assert outcome(functions.verify("It is", ENDS_WITH_STOP)) == (False, 0.0, "not_followed")


def test_the_response_comes_as_it_is_but_for_the_thought():
    for text in ("a", "a\n\n", " a ", "é\u2028\x00", '"\\', "\ud800", "</s>", "x" * 100_000):
        same = f"def evaluate(response):\n    return response == {text!r}"
        assert functions.verify(text, same).correct
        assert functions.verify(f"<think>no</think>\n\n{text}", same).correct
        assert functions.verify(f"{text}!", same).correct is False


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("def evaluate(response):\n    return 1", "not_bool"),
        ("def evaluate(response):\n    return 'True'", "not_bool"),
        ("def evaluate(response):\n    pass", "not_bool"),
        ("def evaluate(response):\n    return object()", "runtime_error"),
        ("def evaluate(response):\n    return response.nothing", "runtime_error"),
        ("def evaluate():\n    return True", "runtime_error"),
        ("def judge(response):\n    return True", "runtime_error"),
        ("import nosuchmodule\ndef evaluate(response):\n    return True", "runtime_error"),
        ("import sys\ndef evaluate(response):\n    sys.exit(0)", "runtime_error"),
        ("import os\ndef evaluate(response):\n    os._exit(0)", "runtime_error"),
        ("print('{\"value\": true}')\nraise SystemExit(0)", "runtime_error"),
        ("def evaluate(response:\n    return True", "compile_error"),
        ("def evaluate(response):\n    return True\x00", "compile_error"),
        ("def evaluate(response):\n    while True: pass", "time_cpu"),
        ("def evaluate(response):\n    import time; time.sleep(60)", "time_wall"),
        ("def evaluate(response):\n    return bytearray(1 << 30)", "memory"),
        ("", "unparsable_reference"),
        (None, "unparsable_reference"),
        ([1], "unparsable_reference"),
    ],
)
def test_a_broken_function_says_nothing_of_the_response(reference, reason):
    limits = Limits(cpu_s=5 if reason == "memory" else 1, wall_s=2 if reason == "time_wall" else 20)
    verdict = functions.verify("It is.", reference, limits=limits)
    assert outcome(verdict) == (None, 0.0, seen(reason)), verdict
    assert verdict.detail
    assert functions.verify("It is.", ENDS_WITH_STOP).correct


@pytest.mark.parametrize("response", ["", " ", "\n", "<think>It is.", "<think>It is.</think>"])
def test_no_response_follows_nothing(response):
    verdict = functions.verify(response, "def evaluate(response):\n    return True")
    assert outcome(verdict) == (False, 0.0, "empty_response")


def test_too_long_a_response_follows_nothing():
    start = time.monotonic()
    for num_chars in (2_000_000, 100_000_000):
        verdict = functions.verify("x" * num_chars, "def evaluate(response):\n    return True")
        assert outcome(verdict) == (False, 0.0, "too_long")
    assert time.monotonic() - start < 5


def test_the_function_may_have_another_name():
    source = "def judge(response):\n    return 'a' in response"
    assert functions.verify("a", source, function="judge").correct
    assert functions.verify("b", source, function="judge").correct is False


def test_a_column_of_none_is_as_good_as_no_column():
    assert functions.verify("It is.", ENDS_WITH_STOP, function=None).correct


def test_a_function_keeps_nothing_from_one_response_to_the_next():
    counting = (
        "import os\n"
        "def evaluate(response):\n"
        "    seen = os.path.exists('/tmp/seen')\n"
        "    open('/tmp/seen', 'w').close()\n"
        "    return seen"
    )
    assert [functions.verify("a", counting).correct for _ in range(6)] == [False] * 6


def test_the_function_can_neither_read_files_nor_reach_the_network():
    attempts = (
        "open('/etc/passwd')",
        "open('/etc/shadow')",
        "__import__('socket').create_connection(('127.0.0.1', 22), 1)",
    )
    for attempt in attempts:
        source = (
            f"def evaluate(response):\n    try: {attempt}\n"
            "    except OSError: return False\n    return True"
        )
        assert functions.verify("a", source).correct is False, attempt
