"""Unit tests that a program can't talk round: it runs in one process, its tests in another.

The candidate has the program and no test; the examiner has the tests and no line of the program.
Between them go calls and answers, as plain data. The verdict leaves by a descriptor that only the
examiner has.
"""

import builtins
import json
import os

import messages
import plain
import roles

_MAX_DETAIL = 300


def candidate(job, control, channel):
    """Answer calls of the functions that job["source"] defines, until there are no more."""
    os.close(control)
    try:
        functions = roles.load(job["source"], job["entry_points"])
        messages.write_message(channel, {})
        while (request := messages.read_message(channel)) is not None:
            messages.write_message(channel, _answer(functions[request["name"]], request))
    except roles.NotLoaded as problem:
        messages.write_message(channel, problem.args[0])
    except BaseException as error:
        roles.finish(error)
    os._exit(0)


def _answer(function, request):
    arguments = plain.decode(request["args"])
    keywords = plain.decode(request["kwargs"])
    try:
        answer = {"value": plain.encode(function(*arguments, **keywords))}
    except plain.NotPlain as error:
        answer = {"not_plain": str(error)[:_MAX_DETAIL]}
    except Exception as error:
        answer = _raised(error)
    try:
        after = plain.encode([*arguments, *keywords.values()])
        before = [*request["args"], *(value for _, value in request["kwargs"]["dict"])]
        answer["changed"] = [[i, x] for i, x in enumerate(after) if x != before[i]]
    except plain.NotPlain as error:
        answer = {"not_plain": f"{error}, put into an argument"[:_MAX_DETAIL]}
    length = len(json.dumps(answer))
    return answer if length <= plain.MAX_BYTES else {"too_long": length}


def _raised(error):
    kind = type(error)
    base = next(b for b in kind.__mro__ if getattr(builtins, b.__name__, None) is b)
    try:
        arguments = plain.encode(list(error.args))
    except plain.NotPlain:
        arguments = [str(error)]
    return {
        "raised": kind.__name__,
        "base": base.__name__,
        "args": arguments,
        "detail": roles.describe(error),
    }


def examiner(job, control, channel):
    """Run the tests and report {"verdict", "detail"}; "died" if the candidate did."""
    with os.fdopen(control, "w") as out:
        json.dump(_examine(job, _Examination(channel)), out)
    os._exit(0)


def _examine(job, examination):
    sources = {name: job[name] for name in ("setup", "test", "call")}
    module = roles.new_module("__main__", "")
    try:
        codes = {
            name: compile(text, f"<{name}>", "exec", dont_inherit=True)
            for name, text in sources.items()
        }
        exec(codes["setup"], module.__dict__)
    except BaseException as error:
        return _finding("harness_error", f"the tests are broken: {_located(error, sources)}")
    for name in ("candidate", *job["entry_points"]):
        module.__dict__[name] = examination.proxy(
            job["entry_points"][0] if name == "candidate" else name
        )
    raised = None
    try:
        examination.begin()
        exec(codes["test"], module.__dict__)
        exec(codes["call"], module.__dict__)
    except BaseException as error:
        raised = error
    return examination.finding or _judge(raised, examination, sources)


def _judge(raised, examination, sources):
    ended = raised is None or (isinstance(raised, SystemExit) and not raised.code)
    if ended and not examination.num_calls:
        return _finding("harness_error", "the tests never call the program")
    if ended:
        return _finding("accepted", "")
    if raised is examination.raised:
        return _finding("runtime_error", examination.detail)
    where = _located(raised, sources)
    if isinstance(raised, AssertionError):
        return _finding("wrong_answer", where)
    broken = isinstance(raised, (SyntaxError, NameError, ImportError))
    if broken or not examination.num_calls:
        return _finding("harness_error", f"the tests are broken: {where}")
    return _finding("wrong_answer", where)  # the answer is of a kind that the tests can't handle


def _located(error, sources):
    """The exception, and the line of the tests that it came from."""
    shown = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    place = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename.strip("<>")
        if name in sources:
            line = sources[name].splitlines()[trace.tb_lineno - 1].strip()
            place = f" at `{line[:150]}`"
        trace = trace.tb_next
    return shown[:150] + place


def _finding(verdict, detail):
    return {"verdict": verdict, "detail": detail[:_MAX_DETAIL]}


class _Over(BaseException):
    """Leaves the tests: there is a finding already. No Exception, so that tests let it through."""


class _Examination:
    """The examiner's end of the channel. Nothing that comes from it is more than data."""

    def __init__(self, channel):
        self._channel = channel
        self.num_calls = 0
        self.raised = None
        self.detail = ""
        self.finding = None

    def begin(self):
        """Wait until the program is loaded."""
        loaded = self._receive()
        for verdict in ("compile_error", "runtime_error"):
            if verdict in loaded:
                self._end(verdict, str(loaded[verdict]))

    def proxy(self, name):
        def call(*args, **kwargs):
            return self._call(name, args, kwargs)

        call.__name__ = call.__qualname__ = name
        return call

    def _call(self, name, args, kwargs):
        if self.finding is not None:
            raise _Over
        self.num_calls += 1
        try:
            request = {"args": plain.encode(list(args)), "kwargs": plain.encode(kwargs)}
        except plain.NotPlain as error:
            self._end("harness_error", f"the tests pass {name} {error}, which is no plain data")
        try:
            messages.write_message(self._channel, {"name": name, **request})
        except OSError:
            self._end("died", "")
        answer = self._receive()
        if "too_long" in answer:
            detail = f"an answer of {answer['too_long']} bytes, more than {plain.MAX_BYTES}"
            self._end("output_limit", detail)
        try:
            value, error = self._read(answer, [*args, *kwargs.values()])
        except (ValueError, TypeError, LookupError, RecursionError, AttributeError) as problem:
            self._end("runtime_error", f"the program's answer can't be read: {problem}")
        if error is not None:
            self.raised = error
            raise error
        return value

    def _receive(self):
        try:
            answer = messages.read_message(self._channel, max_bytes=plain.MAX_BYTES)
        except (ValueError, RecursionError) as problem:
            self._end("runtime_error", f"the program's answer can't be read: {problem}")
        except OSError:
            answer = None
        if answer is None:
            self._end("died", "")
        return answer

    def _read(self, answer, arguments):
        """The value returned or the exception raised, after changes of arguments are made here."""
        if "not_plain" in answer:
            self.detail = f"TypeError: returned {answer['not_plain']}, not plain data"
            return None, TypeError(self.detail.partition(": ")[2])
        changes = [(arguments[i], plain.decode(new)) for i, new in answer["changed"]]
        for old, new in changes:
            if type(old) is type(new) and isinstance(old, plain.MUTABLE):
                plain.update(old, new)
        if "raised" in answer:
            self.detail = str(answer["detail"])
            return None, _rebuilt(answer)
        return plain.decode(answer["value"]), None

    def _end(self, verdict, detail):
        self.finding = _finding(verdict, detail)
        raise _Over


def _rebuilt(answer):
    """The exception as one of the builtin class it derives from, under its own name."""
    base = getattr(builtins, answer["base"])
    if not (isinstance(base, type) and issubclass(base, Exception)):
        base = RuntimeError
    if issubclass(base, (StopIteration, StopAsyncIteration)):
        base = RuntimeError  # these would end a loop of the tests as if all were well
    name = answer["raised"]
    kind = base if base.__name__ == name else type(name, (base,), {})
    arguments = plain.decode(answer["args"])
    try:
        return kind(*arguments)
    except Exception:  # one that takes other arguments than it keeps
        error = kind.__new__(kind)
        error.args = tuple(arguments)
        return error
