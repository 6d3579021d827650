"""Entry point of the `align` command: make sure that our packages are ours, then start the app."""

import sys
from importlib.util import find_spec
from pathlib import Path

OURS = ("synth", "rewards", "verifiers", "cli")
MARKER = "__align_toolkit__ = True"


def foreign_packages() -> list[str]:
    """Which of our top-level names another distribution has taken over, as messages.

    PyPI has a `verifiers` of another project; merged over ours or found before ours it would be
    used in silence. Each name must lie beside `align` and carry our marker line; none is imported.
    """
    home = Path(__file__).resolve().parent.parent
    problems = []
    for name in OURS:
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        beside_us = origin is not None and home in (origin.parent, origin.parent.parent)
        if not beside_us or MARKER not in origin.read_text(encoding="utf-8"):
            where = origin or "nowhere"
            problems.append(
                f"another distribution provides '{name}' (found at {where}); "
                "uninstall it, or install align-toolkit in an environment of its own"
            )
    return problems


def main() -> None:
    problems = foreign_packages()
    if problems:
        print("\n".join(problems), file=sys.stderr)
        raise SystemExit(2)
    from cli import app

    app()


if __name__ == "__main__":
    main()
