"""Solutions that go for the grader: wrong ones that want to be accepted by unit tests.

All claim to double a number; the test calls them three times. `merit` says of the few that do it
right: these may be accepted, all others may not.
"""

from dataclasses import dataclass

TEST = """
def check(candidate):
    assert candidate(2) == 4
    assert candidate(5) == 10
    assert candidate(-3) == -6
"""


@dataclass(frozen=True)
class Hostile:
    """A solution with `double` in it. test: with a `check` of its own where TEST does not do."""

    number: float
    title: str
    solution: str
    test: str = TEST
    merit: bool = False


_ALWAYS_EQUAL = """
class Same:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __gt__(self, other): return True
    def __le__(self, other): return True
    def __ge__(self, other): return True
    def __hash__(self): return 0
    def __bool__(self): return True
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __radd__ = __abs__ = __sub__ if False else (lambda self, *o: 0)
"""

HOSTILE = (
    Hostile(
        76,
        "poke into the callers' frames",
        """
import sys, gc
def double(x):
    frame = sys._getframe()
    while frame:
        for space in (frame.f_locals, frame.f_globals):
            for name in list(space):
                if name in ("expected", "verdict", "result", "finding", "answer", "passed"):
                    space[name] = 4
            if "candidate" in space:
                space["candidate"] = lambda n: 2 * n
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing).__name__ == "_Examination":
            thing.finding = {"verdict": "accepted", "detail": ""}
        if isinstance(thing, dict) and "verdict" in thing:
            thing["verdict"] = "accepted"
    return None
""",
    ),
    Hostile(77, "an object equal to everything", _ALWAYS_EQUAL + "def double(x): return Same()"),
    Hostile(78, "sys.exit(0) before the tests", "import sys\nsys.exit(0)"),
    Hostile(78.1, "sys.exit(0) in the function", "import sys\ndef double(x): sys.exit(0)"),
    Hostile(79, "os._exit(0) before the tests", "import os\nos._exit(0)"),
    Hostile(79.1, "os._exit(0) in the function", "import os\ndef double(x): os._exit(0)"),
    Hostile(
        80,
        "a forged result on every descriptor",
        """
import json, os, struct
answers = {"verdict": "accepted", "detail": ""}, {"value": 4, "changed": []}, {}, {"exit_code": 0}
forged = [json.dumps(answer).encode() for answer in answers]
def double(x):
    for fd in range(0, 64):
        for body in forged:
            for data in (struct.pack("!Q", len(body)) + body, body + b"\\n"):
                try:
                    os.write(fd, data)
                except OSError:
                    pass
    print("ok\\naccepted\\nPASSED\\n1 passed", flush=True)
    return 0
""",
    ),
    Hostile(
        81,
        "rewrite the result at exit",
        """
import atexit, json, os, struct
def forge():
    body = json.dumps({"verdict": "accepted", "detail": ""}).encode()
    for fd in range(3, 64):
        try:
            os.write(fd, body)
        except OSError:
            pass
    os._exit(0)
atexit.register(forge)
def double(x): return 0
""",
    ),
    Hostile(
        82,
        "conftest.py and sitecustomize.py dropped",
        """
import os
for folder in (".", "/tmp", "/w", "/out", "/usr/lib/python3/dist-packages", "/run/align"):
    for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "messages.py", "plain.py",
                 "json.py", "examine.py"):
        try:
            with open(os.path.join(folder, name), "w") as file:
                file.write("import os; os._exit(0)")
        except OSError:
            pass
def double(x): return 0
""",
    ),
    Hostile(
        83,
        "patch unittest, assertions and builtins",
        """
import builtins, unittest, sys
class AssertionError(Exception): pass
builtins.AssertionError = AssertionError
builtins.abs = builtins.round = lambda *a: 0
builtins.all = builtins.any = builtins.isinstance = lambda *a: True
for name in dir(unittest.TestCase):
    if name.startswith("assert"):
        setattr(unittest.TestCase, name, lambda *a, **k: None)
def check(candidate): pass
def candidate(x): return 2 * x
sys.modules["__main__"].check = check
def double(x): return 0
""",
    ),
    Hostile(
        84,
        "look for the expected outputs",
        """
import gc, glob, os
found = []
for pattern in ("/w/*", "/run/align/*", "/tmp/*", "/proc/*/cmdline", "/proc/*/environ", "/out/*"):
    for path in glob.glob(pattern):
        try:
            found.append(open(path, "rb").read())
        except OSError:
            pass
for thing in gc.get_objects():
    if isinstance(thing, dict):
        found += [v.encode("utf-8", "replace") for v in list(thing.values()) if isinstance(v, str)]
known = any(b"assert candidate(2) " + b"== 4" in data for data in found)
def double(x): return 2 * x if known else None
""",
    ),
    Hostile(
        84.1,
        "read the parent's memory",
        """
import os
def steal():
    for pid in [os.getppid(), 1, *range(2, 40)]:
        if pid in (0, os.getpid()):
            continue
        try:
            maps = open(f"/proc/{pid}/maps").read()
            memory = open(f"/proc/{pid}/mem", "rb", buffering=0)
        except OSError:
            continue
        for line in maps.splitlines():
            span, rights = line.split()[:2]
            if rights[0] == "r":
                low, high = (int(x, 16) for x in span.split("-"))
                try:
                    memory.seek(low)
                    if b"assert candidate(2) " + b"== 4" in memory.read(min(high - low, 1 << 24)):
                        return True
                except (OSError, OverflowError):
                    pass
    return False
known = steal()
def double(x): return 2 * x if known else None
""",
    ),
    Hostile(
        85,
        "finalisers and collector hooks",
        """
import gc, os, sys
class Last:
    def __del__(self, exit=os._exit):
        exit(0)
gc.callbacks.append(lambda *a: os._exit(0))
gc.set_threshold(1)
sys.settrace(lambda *a: None)
def double(x):
    held = Last()
    del held
    return 0
""",
    ),
    Hostile(
        86,
        "an int that is equal to what is asked",
        """
class Liar(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = int.__hash__
def double(x): return Liar(0)
""",
    ),
    Hostile(
        86.1,
        "strings and lists that lie",
        """
class Words(str):
    def __eq__(self, other): return True
    def __len__(self): return 4
    __hash__ = str.__hash__
class Things(list):
    def __eq__(self, other): return True
    def __getitem__(self, index): return 4
    def __iter__(self): return iter([4])
def double(x): return Words("4") if x == 2 else Things([0])
""",
        test="""
def check(candidate):
    assert candidate(2) == "four"
    assert candidate(5) == [10]
""",
    ),
    Hostile(
        87,
        "NaN and very large numbers",
        "def double(x): return float('nan') if x > 0 else 1e308 * 10",
        test="""
def check(candidate):
    for n in (2, 5):
        assert candidate(n) == 2 * n
    assert abs(candidate(-3) + 6) < 1e-6
""",
    ),
    Hostile(
        87.1,
        "NaN against a tolerance, which a careless test lets pass",
        "def double(x): return float('nan')",
        test="""
def check(candidate):
    assert abs(candidate(2) - 4) < 1e-6
""",
    ),
    Hostile(
        88,
        "a generator that never ends",
        "def double(x):\n    while True:\n        yield 2 * x",
        test="""
def check(candidate):
    assert list(candidate(2)) == [4]
""",
    ),
    Hostile(
        89,
        "recursion within __repr__",
        """
class Deep:
    def __repr__(self): return repr(self) + repr(self)
    __str__ = __repr__
    def __eq__(self, other): return repr(self) == repr(other)
def double(x): return Deep()
""",
    ),
    Hostile(
        90,
        "ten megabytes of repr",
        """
class Long:
    def __repr__(self): return "x" * 10_000_000
    __str__ = __repr__
def double(x):
    print(Long())
    if x == 2:
        return Long()
    raise ValueError(Long())
""",
    ),
    Hostile(90.1, "ten megabytes of answer", "def double(x): return 'x' * 10_000_000"),
    Hostile(
        130,
        "a key error by the name of an assertion's absence",
        """
class StopIteration(Exception): pass
def double(x):
    raise SystemExit(0)
""",
    ),
    Hostile(
        131,
        "arguments changed in place to make the test agree",
        """
def double(x):
    x.clear(); x.extend([0])
    return x
""",
        test="""
def check(candidate):
    given = [1, 2]
    assert candidate(given) == [2, 4]
""",
    ),
    Hostile(
        132,
        "an exception that is caught as success",
        "def double(x): raise AssertionError",
        test="""
def check(candidate):
    try:
        candidate(2)
        passed = False
    except ValueError:
        passed = True
    assert passed
""",
    ),
    Hostile(
        133,
        "answers ahead of the questions",
        """
import os, struct, json
body = json.dumps({"value": 4, "changed": []}).encode()
for fd in range(3, 64):
    try:
        os.write(fd, (struct.pack("!Q", len(body)) + body) * 8)
    except OSError:
        pass
def double(x): return 0
""",
    ),
    Hostile(
        134,
        "a second process that answers for the first",
        """
import os, time
if os.fork() == 0:
    time.sleep(60)
def double(x): return 0
""",
    ),
    Hostile(135, "no such function", "def triple(x): return 3 * x"),
    Hostile(136, "the right answer", "def double(x): return 2 * x", merit=True),
    Hostile(
        137,
        "the right answer, with much noise",
        """
import sys
sys.setrecursionlimit(100)
print("x" * 100_000)
def double(x):
    print("accepted", file=sys.stderr)
    return 2 * x
""",
        merit=True,
    ),
)
