"""What TRL lacks: the Online Merging Optimizer, the load of experts, and guards of a run."""

from align.train.expert_load import BalancedTraining
from align.train.guards import (
    CheckpointMarker,
    DivergedError,
    GuardedTraining,
    complete_checkpoint,
)
from align.train.online_merging import (
    MergeError,
    OnlineMergingAdamW,
    task_vectors,
    use_online_merging,
)

__all__ = [
    "BalancedTraining",
    "CheckpointMarker",
    "DivergedError",
    "GuardedTraining",
    "MergeError",
    "OnlineMergingAdamW",
    "complete_checkpoint",
    "task_vectors",
    "use_online_merging",
]
