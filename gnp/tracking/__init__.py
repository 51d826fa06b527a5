"""The record of a run on disk, and wandb as a mirror of it. Knows nothing of training."""

from gnp.tracking.environment import describe_environment
from gnp.tracking.reading import DamagedRecord
from gnp.tracking.record import ConfigMismatch, RunBusy, RunRecord
from gnp.tracking.wandb_mirror import WandbMirror

__all__ = [
    "ConfigMismatch",
    "DamagedRecord",
    "RunBusy",
    "RunRecord",
    "WandbMirror",
    "describe_environment",
]
