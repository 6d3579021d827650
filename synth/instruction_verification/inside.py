"""What runs in the sandbox: the functions of an instruction, on one response or on many.

It goes there as text, so it uses nothing of ours. A row's `answer` is this text and, at its end,
the functions themselves.
"""

import sys
import types

SOURCES = []


def evaluate(response):
    """Whether more than half of the functions that come to a verdict find the response right.

    Raises RuntimeError if no more than half of them come to one.
    """
    found = [judge(source, [response])[0] for source in SOURCES]
    values = [value for _, value, _ in found if value is not None]
    if 2 * len(values) <= len(found):
        raise RuntimeError(f"{len(values)} of {len(found)} functions come to a verdict")
    return 2 * sum(values) > len(values)


def judge(source, responses):
    """Of each response a verdict, what the function says (None unless "accepted"), a detail."""
    try:
        function = _load(source)
    except BaseException as error:
        verdict = "compile_error" if isinstance(error, _NotCompiled) else "runtime_error"
        return [[verdict, None, _shown(error)] for _ in responses]
    return [_judge(function, response) for response in responses]


def truth(value):
    """True and False, also as text in capitals or not; None for anything else."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if value is True or value is False else None


class _NotCompiled(Exception):
    pass


def _load(source):
    try:
        code = compile(source, "function.py", "exec", dont_inherit=True)
    except Exception as error:
        raise _NotCompiled(f"{type(error).__name__}: {error}") from None
    module = types.ModuleType("function")
    sys.modules["function"] = module  # where dataclasses look for themselves
    exec(code, module.__dict__)
    return module.evaluate


def _judge(function, response):
    try:
        returned = function(response)
        value = truth(returned)
        if value is None:
            return ["not_bool", None, f"returned a {type(returned).__name__}"]
        return ["accepted", value, ""]
    except BaseException as error:  # exit() too is a crash like any other
        return ["runtime_error", None, _shown(error)]


def _shown(error):
    try:
        return f"{type(error).__name__}: {error}"[:200]
    except Exception:
        return type(error).__name__
