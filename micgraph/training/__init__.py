"""The training loop: explicit, resumable at any step, and the same after a resume as without one (on CPU)."""

from micgraph.training.checkpoints import BEST, LAST, METRICS, Checkpoints, Progress, load_weights, read_metrics
from micgraph.training.config import TrainingConfig
from micgraph.training.trainer import OnEpoch, Trainer, Validate

__all__ = [
    "BEST",
    "LAST",
    "METRICS",
    "Checkpoints",
    "OnEpoch",
    "Progress",
    "Trainer",
    "TrainingConfig",
    "Validate",
    "load_weights",
    "read_metrics",
]
