"""What TRL lacks: the Online Merging Optimizer, and guards that stop a run before it is spoilt."""

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
    "CheckpointMarker",
    "DivergedError",
    "GuardedTraining",
    "MergeError",
    "OnlineMergingAdamW",
    "complete_checkpoint",
    "task_vectors",
    "use_online_merging",
]
