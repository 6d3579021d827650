"""align: post-training alignment on TRL. One recipe in, an aligned model out.

The public Python API:

    align.run(recipe, overrides=...)    carry out a recipe; returns the run's folder and states
    align.plan(recipe, overrides=...)   what would run, and why
    align.load_recipe(path, ...)        a validated recipe
    align.reward                        decorator that names a custom reward function

Importing `align` imports neither torch nor trl.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

__align_toolkit__ = True

try:
    __version__ = version("align-toolkit")
except PackageNotFoundError:  # a bare checkout, not installed
    __version__ = "0+unknown"

_HOMES = {
    "run": "align.runner.run",
    "plan": "align.runner.run",
    "load_recipe": "align.recipe.load",
    "reward": "rewards",
}
__all__ = ["__version__", "load_recipe", "plan", "reward", "run"]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'align' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
