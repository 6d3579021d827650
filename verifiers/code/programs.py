"""The program that a completion commits to."""

import ast
import re
from dataclasses import dataclass

from verifiers.sandbox.languages import get

MAX_CHARS = 200_000
"""Of an answer; longer ones hold no program. No person's solution to a test is near it, and reading
it costs no more than a fifth of a second, whatever is in it."""

_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<mark>`{3,}|~{3,})(?P<info>[^`]*)")
_TAG = re.compile(r"[a-z][\w+#-]*")


@dataclass(frozen=True)
class _Block:
    tag: str
    body: str
    is_closed: bool


def extract(
    completion: str, language: str = "python", *, entry_point: str | None = None
) -> str | None:
    """The last fenced block whose tag names the language, else the last one without a tag; or None.

    entry_point: of these blocks, the last that defines this function is taken, if any does; what
    follows may only show its use. Blocks with any other tag (`text`, `output`, another language)
    don't count. A block without an end, cut off by a limit perhaps, counts if no other does. Text
    without fences is a Python program if it parses as one that does something. What stands before
    the last `</think>` is not read; a thought without an end, or an answer of more than MAX_CHARS
    characters, holds no program. Raises ValueError for an unknown language.
    """
    row = get(language)
    text = answer_of(completion)
    if len(text) > MAX_CHARS:
        return None
    text = text.replace("\r\n", "\n")
    blocks = _blocks(text)
    if not blocks:
        return text if row.name == "python" and _is_program(text) else None
    names = {row.name, *row.aliases}
    named = [block for block in blocks if block.tag in names and block.is_closed]
    untagged = [block for block in blocks if not block.tag and block.is_closed]
    unclosed = [block for block in blocks if block.tag in {*names, ""} and not block.is_closed]
    bodies = [block.body for block in named or untagged or unclosed if block.body.strip()]
    defining = [body for body in bodies if entry_point and defines(body, entry_point)]
    return next(reversed(defining or bodies), None)


def answer_of(completion: str) -> str:
    """What follows the last `</think>`; "" if a thought did not end."""
    end = completion.rfind("</think>")
    if completion.rfind("<think>") > end:
        return ""
    return completion if end < 0 else completion[end + len("</think>") :]


def defines(source: str, name: str) -> bool:
    """Whether the Python source has, at its top level, a function, class or variable so named."""
    name = re.escape(name)
    shape = rf"^(?:(?:async[ ]+)?def|class)[ ]+{name}\b|^{name}[ ]*(?::[^=\n]*)?=(?!=)"
    return re.search(shape, source, re.MULTILINE) is not None


def parsed(source: str) -> ast.Module | None:
    """The syntax tree, or None where there is none; whatever the text, this does not raise."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _blocks(text: str) -> list[_Block]:
    blocks: list[_Block] = []
    fence: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        found = _FENCE.fullmatch(line)
        if fence is None:
            fence, lines = found, []
        elif found and found["mark"].startswith(fence["mark"]) and not found["info"].strip():
            blocks.append(_block(fence, lines, True))
            fence = None
        else:
            lines.append(line.removeprefix(fence["indent"]))
    if fence is not None:
        blocks.append(_block(fence, lines, False))
    return blocks


def _block(fence: re.Match[str], lines: list[str], is_closed: bool) -> _Block:
    tag = _TAG.search(fence["info"].lower())
    # A tag that is no word ("1.") is still one: the block is not untagged.
    name = tag[0] if tag else fence["info"].strip()
    return _Block(name, "\n".join(lines) + "\n", is_closed)


def _is_program(text: str) -> bool:
    """A word, a sum or `Answer: yes` is valid Python too, and does nothing."""
    tree = parsed(text)
    return tree is not None and any(map(_does_something, tree.body))


def _does_something(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return any(isinstance(node, ast.Call) for node in ast.walk(statement))
    return not (isinstance(statement, ast.AnnAssign) and statement.value is None)
