import collections
import enum
import json
import math

import pytest

from verifiers.sandbox.inside import plain


def crossed(value):
    return plain.decode(json.loads(json.dumps(plain.encode(value), allow_nan=False)))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -1, 2**63, -(2**70), 10**5000, 1.5, -0.0, 1e308, 5e-324, 1 + 2j),
        *("", "naïve \ud800 \0", b"\0\xff", bytearray(b"x"), range(3, 9, 2)),
        *([], (), set(), frozenset(), {}, [(1,), [2, {3}]], (1, [2, (3,)])),
        {1: "a", (1, 2): {"int": [4]}, None: {"x"}, frozenset({1}): 1.0, True and "k": b""},
        collections.deque([1, [2]]),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, int) else hex(value)[:20],
)
def test_plain_data_comes_back_the_same(value):
    back = crossed(value)
    assert back == value
    assert type(back) is type(value)
    assert repr(back)[:2000] == repr(value)[:2000] if not isinstance(value, int) else True


def test_no_number_is_lost_to_json():
    assert math.isnan(crossed(math.nan))
    assert crossed([math.inf, -math.inf]) == [math.inf, -math.inf]
    assert math.copysign(1, crossed(-0.0)) == -1


class Liar(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


class ListLiar(list):
    def __eq__(self, other):
        return True

    def __iter__(self):
        return iter([42])

    def __len__(self):
        return 1


class Colour(enum.IntEnum):
    RED = 3


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (Liar(7), 7),
        (ListLiar([1, 2]), [1, 2]),
        (Colour.RED, 3),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, {1: [2]}), {1: [2]}),
        (collections.namedtuple("P", "x y")(1, 2), (1, 2)),
        (type("S", (str,), {"__str__": lambda self: "lie"})("truth"), "truth"),
    ],
)
def test_subclasses_lose_their_methods_at_the_border(value, base):
    back = crossed(value)
    assert type(back) is type(base)
    assert base == back


@pytest.mark.parametrize(
    "value", [object(), print, iter([]), (x for x in ()), math, int, [1, {2: lambda: 0}]]
)
def test_what_is_no_plain_data_does_not_cross(value):
    with pytest.raises(plain.NotPlain):
        plain.encode(value)


def test_endless_data_does_not_cross():
    endless = []
    endless.append(endless)
    with pytest.raises(plain.NotPlain, match="deep"):
        plain.encode(endless)


@pytest.mark.parametrize(
    "forged",
    [
        *({}, {"tuple": [], "set": []}, {"eval": "1"}, {"int": "zz"}, {"int": 5}, {"tuple": "ab"}),
        *({"set": [[1]]}, {"dict": [[[1], 2]]}, {"dict": [[1]]}, {"complex": [1]}, {"bytes": "é"}),
        *({"range": [1, 2, 0]}, {"range": ["a", 1, 1]}, {"float": "x"}, {"deque": {"int": "1"}}),
        {"dict": 7},
    ],
    ids=repr,
)
def test_forged_data_is_refused(forged):
    with pytest.raises(ValueError):
        plain.decode(forged)


def test_forged_depth_is_refused():
    deep = []
    for _ in range(plain.MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(ValueError, match="deep"):
        plain.decode(deep)


@pytest.mark.parametrize(
    ("old", "new"),
    [([1], [2, 3]), ({1: 2}, {3: 4}), ({1}, {2}), (bytearray(b"a"), bytearray(b"bc"))],
)
def test_update_changes_the_container_itself(old, new):
    seen = old
    plain.update(old, new)
    assert seen == new


def test_update_of_a_deque():
    old = collections.deque([1, 2])
    plain.update(old, collections.deque([3]))
    assert list(old) == [3]
