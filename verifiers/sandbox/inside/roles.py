"""What a forked child does for a living: it runs a script, or calls one function.

A child has given up everything by then; it reads no more orders and only ends.
"""

import atexit
import builtins
import json
import linecache
import os
import sys
import traceback
import types

import plain

SOURCE = "main.py"


def script(job, control, stdin, stdout, stderr):
    """Run job["source"] as `python main.py` would."""
    os.close(control)
    for target, fd in enumerate((stdin, stdout, stderr)):
        os.dup2(fd, target)
        os.close(fd)
    _open_streams()
    sys.argv = [SOURCE, *job["args"]]
    module = new_module("__main__", job["source"])
    error = None
    try:
        exec(compile(job["source"], SOURCE, "exec", dont_inherit=True), module.__dict__)
    except BaseException as raised:
        error = raised
    finish(error)


def call(job, control):
    """Call the function job["function"] of job["source"]; the answer goes out by `control`."""
    try:
        function = load(job["source"], [job["function"]])[job["function"]]
        arguments, keywords = plain.decode(job["args"]), plain.decode(job["kwargs"])
        answer = {"value": plain.encode(function(*arguments, **keywords))}
    except NotLoaded as problem:
        answer = problem.args[0]
    except plain.NotPlain as problem:
        answer = {"runtime_error": f"returned {problem}, not plain data"}
    except Exception as error:
        answer = {"runtime_error": describe(error)}
    except BaseException as error:
        finish(error)
    with os.fdopen(control, "w") as out:
        json.dump(answer, out)
    finish()


class NotLoaded(Exception):
    """{verdict: detail} of a program that can't be loaded."""


def load(source, names):
    """Run the program as a module; the functions of these names. Raises NotLoaded."""
    module = new_module("solution", source)
    verdict = "compile_error"
    try:
        code = compile(source, SOURCE, "exec", dont_inherit=True)
        verdict = "runtime_error"
        exec(code, module.__dict__)
    except Exception as error:
        raise NotLoaded({verdict: describe(error)}) from None
    for name in names:
        if name not in module.__dict__:
            raise NotLoaded({verdict: f"NameError: the program defines no '{name}'"})
    return {name: module.__dict__[name] for name in names}


def new_module(name, source):
    """An empty module in the place where its code will look for itself."""
    module = types.ModuleType(name)
    module.__dict__["__file__"] = SOURCE
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    # Without this, tracebacks can't show lines of a file that does not exist.
    linecache.cache[SOURCE] = (len(source), None, source.splitlines(True), SOURCE)
    return module


def describe(error):
    """In a line, and where: "ValueError: too big (line 3)"."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == SOURCE:
            line = number
    try:
        text = str(error)[:300]
    except Exception:
        text = "?"
    where = f" (line {line})" if line else ""
    return f"{type(error).__name__}: {text}{where}"


def finish(error=None):
    """End as the interpreter would, on this exception or without one.

    But for tearing down what all children share: it costs more than many a job.
    """
    try:
        code = _exit_code(error)
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except BaseException:
        code = 120
    os._exit(code)


def _open_streams():
    sys.stdin = sys.__stdin__ = _stream(0, "r", sys.stdin)
    sys.stdout = sys.__stdout__ = _stream(1, "w", sys.stdout)
    sys.stderr = sys.__stderr__ = _stream(2, "w", sys.stderr)
    sys.stderr.reconfigure(line_buffering=True)


def _stream(fd, mode, like):
    return open(fd, mode, encoding=like.encoding, errors=like.errors, closefd=False)


def _exit_code(error):
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        # From the program's own frame on.
        error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exception(error)  # the original looks for the source on the disk
        else:
            sys.excepthook(type(error), error, error.__traceback__)
        return 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1
