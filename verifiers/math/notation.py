r"""One spelling for answers: what only sets mathematics in type is taken off.

The result is still LaTeX, but with `\text{...}` unwrapped, arguments in braces, and one character
for what has many names (`≤`, `°`). Nothing here changes a value.
"""

import re

_TRIGONOMETRIC = ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")
_ARCS = ("arcsin", "arccos", "arctan")
_GREEK = ("pi", "theta", "alpha", "beta", "gamma", "phi", "lambda")
_OTHERS = ("ln", "log", "exp", "sqrt", "gcd", "lcm", "max", "min", "det", "lim", "infty")
FUNCTIONS = frozenset((*_TRIGONOMETRIC, *_ARCS, *_GREEK, *_OTHERS))
"""Names that are mathematics when written without a backslash."""

_UNICODE = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{MULTIPLICATION SIGN}": r"\times ",
        "\N{MIDDLE DOT}": r"\cdot ",
        "\N{DOT OPERATOR}": r"\cdot ",
        "\N{DIVISION SIGN}": "/",
        "\N{GREEK SMALL LETTER PI}": r"\pi ",
        "\N{SQUARE ROOT}": r"\sqrt ",
        "\N{INFINITY}": r"\infty ",
        "\N{UNION}": r"\cup ",
        "\N{ELEMENT OF}": r"\in ",
        "\N{EMPTY SET}": r"\emptyset ",
        "\N{DOUBLE-STRUCK CAPITAL R}": r"\mathbb{R}",
        "\N{PLUS-MINUS SIGN}": r"\pm ",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{VULGAR FRACTION ONE HALF}": r"\frac{1}{2}",
        "\N{VULGAR FRACTION ONE QUARTER}": r"\frac{1}{4}",
        "\N{VULGAR FRACTION THREE QUARTERS}": r"\frac{3}{4}",
        "\N{SUPERSCRIPT TWO}": "^2",
        "\N{SUPERSCRIPT THREE}": "^3",
    }
    | {chr(code + 0xFEE0): chr(code) for code in range(ord("!"), ord("~") + 1)}  # fullwidth
)

_FONT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|normal)?|mathrm|mathbf|mathit|mathsf|boldsymbol|[mh]box"
    r"|operatorname\*?)\s?(?:\{([^{}]*)\}|\s([a-zA-Z])(?![a-zA-Z]))"
)
_METRIC = re.compile(r"(?<=[\d})])\s?\\(?:text|mathrm|mbox)\s?\{\s?(?:\\ )?([msghL])\}$")
_METRIC_NAMES = {"m": "meter", "s": "second", "g": "gram", "h": "hour", "L": "liter"}

_REPLACED = [
    (r"\\(?:left|right)\.", ""),
    (r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits)(?![a-zA-Z])\s*", ""),
    # `\\\\` ends a row of a matrix, so what follows it is no command.
    (r"(?<!\\)\\(?:!\s*|[()\[\]])", ""),
    (r"(?<!\\)\\(?:[,;:>\s]|q?quad)|~", " "),
    (r"\\?[\"\u201c\u201d]", ""),
    (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
    (r"\\l?v?dots(?![a-zA-Z])", r"\\dots"),
    (r"\\leq?(?:slant)?(?![a-zA-Z])\s?", "\N{LESS-THAN OR EQUAL TO}"),
    (r"\\geq?(?:slant)?(?![a-zA-Z])\s?", "\N{GREATER-THAN OR EQUAL TO}"),
    (r"\\neq?(?![a-zA-Z])\s?", "\N{NOT EQUAL TO}"),
    (r"\\lt(?![a-zA-Z])\s?", "<"),
    (r"\\gt(?![a-zA-Z])\s?", ">"),
    (r"\s?\^\s?(?:\\circ(?![a-zA-Z])|\{\s?\\circ\s?\})|\\degree(?![a-zA-Z])", "\N{DEGREE SIGN}"),
    (r"\\lbrace(?![a-zA-Z])\s?", r"\\{"),
    (r"\\rbrace(?![a-zA-Z])\s?", r"\\}"),
    (r"\\varnothing(?![a-zA-Z])", r"\\emptyset"),
    (r"\\cdotp(?![a-zA-Z])", r"\\cdot"),
    (r"\{,\}", ","),
    (r"\s+(?=\^)", ""),
    (r"(?<![\w)}])\+\s?(?=\\infty)", ""),
    (r"\\([$%&#])", r"\1"),
]
_PATTERNS = [(re.compile(pattern), replacement) for pattern, replacement in _REPLACED]
_ASCII_RELATIONS = [("<=", "\u2264"), (">=", "\u2265"), ("!=", "\u2260"), ("==", "=")]
_PARAMETER = re.compile(r",?\s*\(?(?:for )?[kmn]\s*\\in\s*\\mathbb\s?\{[ZN]\}\)?$")
_SPELT_OUT = re.compile(
    r"(?<![\\a-zA-Z])inf(?:ty|inity)?(?![a-zA-Z])|(?<=\d)\s?degrees?(?![a-zA-Z])"
)
_SPELLINGS = {"i": r"\infty ", "d": "\N{DEGREE SIGN}"}
_OPERATOR = re.compile(r"\\(frac|binom|sqrt)(?![a-zA-Z])")
_GAP = re.compile(r"(?<=\})\s+(?=\{)|(?<=\\frac)\s+(?=\{)|(?<=\\sqrt)\s+(?=[\[{])")
_DOUBLED = re.compile(r"\\\\(?=[a-zA-Z])")
_TOKEN = re.compile(r"\s*(\\[a-zA-Z]+|[0-9a-zA-Z])")
_TIGHT = re.compile(r"\s*([^\w\s\\]|\\[{}])\s*|\s+(?=\\)")
_SINGLE = re.compile(r"(?<=[\^_])\{(\w)\}")


def tidy(text: str) -> str:
    """The answer in one spelling. At most a few passes over it, whatever it holds."""
    if not text.isascii():
        text = text.translate(_UNICODE)
    if text.count("$") - text.count("\\$") > 1:  # a lone one is a currency
        text = re.sub(r"(?<!\\)\$", "", text)
    if "\\" in text or "~" in text or "{" in text:
        text = _untypeset(text)
    text = _SPELT_OUT.sub(lambda found: _SPELLINGS[found[0].strip()[0]], text)
    for written, sign in _ASCII_RELATIONS:
        text = text.replace(written, sign)
    return " ".join(text.split()).rstrip(",;:").removesuffix(".").rstrip()


def comparable(tidied: str) -> str:
    """For comparison as text: without regard to case and to spacing around signs."""
    return _SINGLE.sub(r"\1", _TIGHT.sub(r"\1", tidied)).casefold()


def end_of_group(text: str, start: int) -> int:
    """Behind the bracket that closes the one at `start`; -1 if there is none."""
    depth = 0
    for at in range(start, len(text)):
        if text[at] in "([{":
            depth += 1
        elif text[at] in ")]}":
            depth -= 1
            if depth == 0:
                return at + 1
    return -1


def _untypeset(text: str) -> str:
    text = _METRIC.sub(lambda found: f" {_METRIC_NAMES[found[1]]}", text)
    if "\\begin" not in text:  # without rows, a doubled backslash was escaped once too often
        text = _DOUBLED.sub(r"\\", text)
    text = _FONT.sub(_unwrapped, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return _with_braces(_PARAMETER.sub("", text))


def _unwrapped(found: re.Match[str]) -> str:
    content = found[1] if found[1] is not None else found[2]
    if content in ("lcm", "gcd", "rank", "tr", "Re", "Im"):
        return found[0]
    return f"\\{content} " if content in FUNCTIONS else f" {content} "


def _with_braces(text: str) -> str:
    r"""`\frac12` as `\frac{1}{2}`, `\sqrt2` as `\sqrt{2}`."""
    text = _GAP.sub("", text)
    at = 0
    while found := _OPERATOR.search(text, at):
        at = end = found.end()
        if found[1] == "sqrt" and text[end : end + 1] == "[":
            end = text.find("]", end) + 1 or end
        for _ in range(1 if found[1] == "sqrt" else 2):
            token = _TOKEN.match(text, end)
            if token:
                text = f"{text[:end]}{{{token[1]}}}{text[token.end() :]}"
            end = end_of_group(text, end) if text[end : end + 1] == "{" else -1
            if end < 0:
                break
    return text
