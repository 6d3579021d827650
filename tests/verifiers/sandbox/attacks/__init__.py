"""Hostile programs, and what has to become of them.

Numbers 1 to 75 and 91 to 100 are programs, 76 to 90 solutions that go for the grader; those above
100 are our own. `python -m tests.verifiers.sandbox.attacks` runs them and prints a JSON line each.
"""

from .attack import Attack
from .compiling import COMPILING
from .files import FILES
from .grading import HOSTILE, Hostile
from .leftovers import LEFTOVERS
from .network import NETWORK
from .processes import PROCESSES
from .resources import RESOURCES
from .syscalls import SYSCALLS

_GROUPS = (RESOURCES, FILES, SYSCALLS, NETWORK, PROCESSES, LEFTOVERS, COMPILING)

ATTACKS: tuple[Attack, ...] = tuple(
    sorted((attack for group in _GROUPS for attack in group), key=lambda attack: attack.number)
)

__all__ = ["ATTACKS", "HOSTILE", "Attack", "Hostile"]
