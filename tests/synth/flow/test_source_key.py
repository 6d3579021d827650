import functools
import textwrap
from pathlib import Path

import pytest

import verifiers
from synth.flow.source_key import source_key
from verifiers.loading import load_callable

BASE = """
LIMIT = 3
NAMES = ["a", "b"]

def helper(x):
    return x + LIMIT

def unrelated(x):
    return -x

class Judge:
    bound = 1
    def __call__(self, x):
        return x > 2

def check(text, *, least=2):
    '''Docstring.'''
    return helper(len(text)) > least and text in NAMES

def closed(n):
    def inner(x):
        return x + n
    return inner

short = lambda x: x + 1
"""


def keyed(tmp_path: Path, source: str, name: str = "check", number: int = 0) -> str:
    path = tmp_path / f"file{number}.py"
    path.write_text(textwrap.dedent(source))
    return source_key(load_callable(f"{path.name}:{name}", tmp_path))


@pytest.fixture
def changed(tmp_path):
    """Whether replacing `old` by `new` in the file gives `name` another key."""

    def differs(old: str, new: str, name: str = "check") -> bool:
        assert old in BASE
        before = keyed(tmp_path, BASE, name)
        return keyed(tmp_path, BASE.replace(old, new), name) != before

    return differs


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("> least and", ">= least and"),
        ("least=2", "least=3"),
        ("x + LIMIT", "x - LIMIT"),
        ("LIMIT = 3", "LIMIT = 4"),
        ('["a", "b"]', '["a", "c"]'),
    ],
)
def test_a_change_of_what_it_does_is_another_key(changed, old, new):
    assert changed(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'''Docstring.'''", "'''Another one.'''  # and a comment"),
        ("def helper(x):\n", "# a comment\n\n\ndef helper(x):\n    # here too\n"),
        ("return helper(len(text)) > least", "return helper( len( text ) ) > least"),
        ("return -x", "return x"),
        ("x > 2", "x > 3"),
    ],
)
def test_comments_spaces_and_unrelated_code_are_not(changed, old, new):
    assert not changed(old, new)


def test_lambdas_and_callable_objects_count_by_what_they_do(changed, tmp_path):
    assert changed("lambda x: x + 1", "lambda x: x + 2", "short")
    assert not changed("lambda x: x + 1", "lambda  x: (x + 1)", "short")
    assert changed("x > 2", "x > 3", "Judge")
    assert not changed("return -x", "return x", "Judge")


def test_closures_and_partials_count_by_their_values(tmp_path):
    path = tmp_path / "file.py"
    path.write_text(BASE)
    closed = load_callable("file.py:closed", tmp_path)
    assert source_key(closed(1)) == source_key(closed(1)) != source_key(closed(2))
    check = load_callable("file.py:check", tmp_path)
    one, two = (source_key(functools.partial(check, least=n)) for n in (1, 2))
    assert len({one, two, source_key(check)}) == 3


def test_our_own_verifiers_have_keys_of_their_own():
    keys = {name: source_key(verifiers.get(name)) for name in verifiers.NAMES}
    assert len(set(keys.values())) == len(keys)
