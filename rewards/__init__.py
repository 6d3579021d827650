"""Scores for completions: callables of TRL's signature, by name, from verifiers, checked, combined.

f(completions, prompts=None, **columns) -> list of float or None
"""

from rewards.checked import RewardError, checked
from rewards.combined import combine
from rewards.model import RewardModel
from rewards.registry import resolve, reward, sources
from rewards.verified import from_verifier

__align_toolkit__ = True

__all__ = [
    "RewardError",
    "RewardModel",
    "checked",
    "combine",
    "from_verifier",
    "resolve",
    "reward",
    "sources",
]
