"""What a callable does, as a hash: another body is another key, another comment is not."""

import ast
import functools
import inspect
import os
import types
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def source_key(function: Callable[..., Any]) -> str:
    """Hex digest of the callable's syntax, its closure and defaults, and of what it uses.

    Used are functions, classes and plain constants of its own package or file, wherever they are
    reached from; what other packages do is not followed. Positions, comments and docstrings do not
    count. Where there is no source, the bytecode stands for it.
    """
    digest = blake2b(digest_size=16)
    for part in _parts(function, set()):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _parts(value: Any, seen: set[int]) -> Iterator[str]:
    """What decides the meaning of `value`, in a fixed order."""
    if isinstance(value, _PLAIN):
        yield repr(value)
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, functools.partial):
        yield from _parts(value.func, seen)
        yield from _parts(list(value.args), seen)
        yield from _parts(value.keywords, seen)
    elif isinstance(value, types.MethodType):
        yield from _parts(value.__func__, seen)
        yield from _parts(value.__self__, seen)
    elif isinstance(value, types.FunctionType):
        yield from _function_parts(value, seen)
    elif isinstance(value, type):
        yield from _class_parts(value, seen)
    elif isinstance(value, list | tuple):
        yield type(value).__name__
        for item in value:
            yield from _parts(item, seen)
    elif isinstance(value, set | frozenset):
        yield from sorted(map(repr, value))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield repr(name)
            yield from _parts(item, seen)
    else:
        yield f"{type(value).__module__}.{type(value).__qualname__}"
        if callable(value) or hasattr(value, "__dataclass_fields__"):
            yield from _parts(type(value), seen)
            yield from _parts(dict(getattr(value, "__dict__", {})), seen)


def _function_parts(function: types.FunctionType, seen: set[int]) -> Iterator[str]:
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is not None:
        yield from _parts(wrapped, seen)
    yield function.__module__ or ""
    yield function.__qualname__
    node = _node(function)
    yield ast.dump(node) if node is not None else _bytecode(function.__code__)
    yield from _parts(function.__defaults__, seen)
    yield from _parts(function.__kwdefaults__, seen)
    for cell in function.__closure__ or ():
        try:
            yield from _parts(cell.cell_contents, seen)
        except ValueError:  # not filled yet
            yield "empty"
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            used = function.__globals__[name]
            if isinstance(used, (*_PLAIN, list, tuple, set, frozenset, dict)) or _is_near(
                used, function
            ):
                yield name
                yield from _parts(used, seen)


def _class_parts(cls: type, seen: set[int]) -> Iterator[str]:
    yield f"{cls.__module__}.{cls.__qualname__}"
    for name, member in sorted(vars(cls).items()):
        if isinstance(member, staticmethod | classmethod):
            member = member.__func__
        if isinstance(member, property):
            member = member.fget
        if isinstance(member, types.FunctionType) and member.__module__ == cls.__module__:
            yield name
            yield from _parts(member, seen)


def _is_near(used: Any, function: types.FunctionType) -> bool:
    """Whether a function or class is of the same file or top-level package."""
    if not isinstance(used, types.FunctionType | type):
        return False
    mine, theirs = function.__module__ or "", used.__module__ or ""
    return mine.partition(".")[0] == theirs.partition(".")[0]


def _names(code: types.CodeType) -> set[str]:
    """Names that the code, and what is nested in it, looks up."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def _bytecode(code: types.CodeType) -> str:
    constants = [_bytecode(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code, constants, code.co_names, code.co_varnames))


def _node(function: types.FunctionType) -> ast.AST | None:
    """The syntax of the function without docstrings; None where its source can't be found."""
    code = function.__code__
    try:
        path = inspect.getsourcefile(function) or ""
        found = _functions(path, os.stat(path).st_mtime_ns)
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    nodes = found.get((code.co_name, code.co_firstlineno), [])
    if code.co_name == "<lambda>":  # there may be several on a line
        names = list(code.co_varnames[: code.co_argcount])
        nodes = [n for n in nodes if [a.arg for a in (*n.args.posonlyargs, *n.args.args)] == names]
    return nodes[0] if len(nodes) == 1 else None


@functools.lru_cache(maxsize=256)
def _functions(path: str, _changed_ns: int) -> dict[tuple[str, int], list[ast.AST]]:
    """The functions of a file by name and first line, decorators included."""
    with open(path, encoding="utf-8") as stream:
        tree = ast.parse(stream.read())
    found: dict[tuple[str, int], list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            found.setdefault(("<lambda>", node.lineno), []).append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found.setdefault((node.name, first), []).append(node)
    return found


def _drop_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    value = node.body[0].value if isinstance(node.body[0], ast.Expr) else None
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        value.value = ""
