"""Plain data across a border: Python values to what JSON can hold, and back.

Only data crosses. An instance of a subclass goes as the plain type it derives from, read with that
type's own methods, so an `__eq__`, `__hash__` or `__iter__` of its own stays behind. Whatever comes
back from the other side is built from these types alone.

Lists, strings, truth values, None, finite floats and small integers are themselves; all else is an
object of one member, whose name is the type's.
"""

import math
from collections import deque

MAX_DEPTH = 100
MAX_BYTES = 1 << 20
"""Of an answer as JSON."""

_SMALL = 1 << 63


class NotPlain(ValueError):
    """A value that is no plain data; the message says what it is, as in "a generator"."""


def encode(value, depth=MAX_DEPTH):
    """What json.dumps takes. Raises NotPlain."""
    if value is None or value is True or value is False:
        return value
    if depth == 0:
        raise NotPlain(f"data nested more than {MAX_DEPTH} deep")
    for kind in type(value).__mro__:
        if kind in _ENCODERS:
            return _ENCODERS[kind](value, depth - 1)
    raise NotPlain(f"a {type(value).__name__}")


def decode(data, depth=MAX_DEPTH):
    """The value, from what json.loads gave. Raises ValueError for what `encode` never makes."""
    if depth < 0:
        raise ValueError(f"data nested more than {MAX_DEPTH} deep")
    if isinstance(data, list):
        return [decode(item, depth - 1) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1:
        raise ValueError(f"an object of {len(data)} members")
    ((kind, content),) = data.items()
    if kind not in _DECODERS:
        raise ValueError(f"an object of an unknown type {kind[:40]!r}")
    try:
        return _DECODERS[kind](content, depth - 1)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"no {kind}: {error}") from None


def update(old, new):
    """Give a mutable container the content of another one of its type."""
    if isinstance(old, (list, bytearray)):
        old[:] = new
    else:
        old.clear()
        (old.extend if isinstance(old, deque) else old.update)(new)


MUTABLE = (list, dict, set, deque, bytearray)


def _integer(value, depth):
    number = int.__int__(value)
    return number if -_SMALL < number < _SMALL else {"int": hex(number)}


def _float(value, depth):
    number = float.__float__(value)
    return number if math.isfinite(number) else {"float": repr(number)}


def _list(value, depth):
    return [encode(item, depth) for item in list.__iter__(value)]


def _complex(value, depth):
    number = complex.__complex__(value)
    return {"complex": [_float(number.real, depth), _float(number.imag, depth)]}


def _dict(value, depth):
    return {"dict": [[encode(k, depth), encode(v, depth)] for k, v in dict.items(value)]}


def _items(kind):
    return lambda value, depth: {
        kind.__name__: [encode(item, depth) for item in kind.__iter__(value)]
    }


def _bytes(kind):
    return lambda value, depth: {kind.__name__: kind.hex(value)}


_ENCODERS = {
    int: _integer,
    float: _float,
    str: lambda value, depth: str.__str__(value),
    list: _list,
    complex: _complex,
    dict: _dict,
    range: lambda value, depth: {
        "range": [_integer(n, depth) for n in (value.start, value.stop, value.step)]
    },
    **{kind: _items(kind) for kind in (tuple, set, frozenset, deque)},
    **{kind: _bytes(kind) for kind in (bytes, bytearray)},
}


def _built(kind):
    return lambda content, depth: kind(decode(_of(list, content), depth))


def _pairs(content, depth):
    return {decode(key, depth): decode(value, depth) for key, value in _of(list, content)}


def _numbers(kind, count):
    def build(content, depth):
        numbers = decode(_of(list, content), depth)
        if len(numbers) != count:
            raise ValueError(f"{len(numbers)} numbers for a {kind.__name__}")
        return kind(*numbers)

    return build


def _of(kind, content):
    if type(content) is not kind:
        raise TypeError(f"made of a {type(content).__name__}")
    return content


_DECODERS = {
    "int": lambda content, depth: int(_of(str, content), 16),
    "float": lambda content, depth: float(_of(str, content)),
    "dict": _pairs,
    "complex": _numbers(complex, 2),
    "range": _numbers(range, 3),
    **{kind.__name__: _built(kind) for kind in (tuple, set, frozenset, deque)},
    **{kind.__name__: lambda c, d, k=kind: k.fromhex(_of(str, c)) for kind in (bytes, bytearray)},
}
