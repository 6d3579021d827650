r"""Constraints on the form of a response.

The published regular expressions are replaced by ones that find the same and never go back over
what they have read: `\s*` at a line's start, for one, tries each of a million blank lines a
million times.
"""

import json
import re

from verifiers.instructions.counting import AT_LEAST, shortfall

# `[^*]` and what follows may be on the next line: a bare `*` takes that one with it, as published.
_STAR_BULLET = re.compile(r"^[^\S\n]*\*[^*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^[^\S\n]*-", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*[^\n*]*\*")
_DOUBLE_HIGHLIGHT = re.compile(r"\*\*[^\n*]*\*\*")
_PPS = re.compile(r"p\.\s?p\.\s?s")
_PS = re.compile(r"p\.\s?s\.")

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def number_bullet_lists(response: str, *, num_bullets: int) -> str:
    """Lines that start with `*` or `-`; a line `---` is one of them, as published."""
    found = sum(1 for _ in _STAR_BULLET.finditer(response))
    found += sum(1 for _ in _DASH_BULLET.finditer(response))
    return shortfall(found, "exactly", num_bullets, "bullet points")


def constrained_response(response: str) -> str:
    """One of the three options anywhere in the response, with its capital and full stop."""
    return "" if any(option in response for option in OPTIONS) else "none of the three options"


def number_highlighted_sections(response: str, *, num_highlights: int) -> str:
    """`*so*` counts once and `**so**` once: single stars find nothing in the latter but `**`."""
    found = sum(1 for match in _HIGHLIGHT.finditer(response) if match[0].strip("*").strip())
    found += sum(1 for match in _DOUBLE_HIGHLIGHT.finditer(response) if match[0].strip("*").strip())
    return shortfall(found, AT_LEAST, num_highlights, "highlighted sections")


def multiple_sections(response: str, *, section_spliter: str, num_sections: int) -> str:
    """The splitter with a number behind it, with the splitter's own case."""
    heading = re.compile(rf"{re.escape(section_spliter.strip())}\s?\d+")
    found = sum(1 for _ in heading.finditer(response))
    return shortfall(found, AT_LEAST, num_sections, f"sections with {section_spliter!r}")


def json_format(response: str) -> str:
    """Valid JSON, in a code fence or not. A single number or string is JSON too, as published."""
    text = response.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except ValueError as error:
        return f"no JSON: {error}"
    except RecursionError:
        return "JSON nested too deeply to be read"
    return ""


def title(response: str) -> str:
    """`<<something>>` on one line."""
    for line in response.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and start + 3 <= end and line[start:end].lstrip("<").rstrip(">").strip():
            return ""
    return "no title in <<double angular brackets>>"


def number_placeholders(response: str, *, num_placeholders: int) -> str:
    """`[something]` on one line; what is between the brackets may be nothing, as published."""
    found = sum(map(_num_placeholders, response.split("\n")))
    return shortfall(found, AT_LEAST, num_placeholders, "placeholders in [brackets]")


def _num_placeholders(line: str) -> int:
    found = 0
    start = line.find("[")
    while start >= 0 and (end := line.find("]", start)) >= 0:
        found += 1
        start = line.find("[", end)
    return found


def postscript(response: str, *, postscript_marker: str) -> str:
    """The marker anywhere, without regard to case; `P.S.` and `P.P.S` also with spaces inside."""
    marker = postscript_marker.strip()
    text = response.lower()
    if marker == "P.P.S":
        is_there = _PPS.search(text) is not None
    elif marker == "P.S.":
        is_there = _PS.search(text) is not None
    else:
        is_there = marker.lower() in text
    return "" if is_there else f"no postscript {marker!r}"
