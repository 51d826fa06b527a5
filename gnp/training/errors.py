"""The exceptions whose message is all that a user of ``scripts/train.py`` needs."""

from gnp.data.errors import DataError
from gnp.tracking.record import ConfigMismatch, RunBusy
from gnp.training.checkpoint import CheckpointError
from gnp.training.config import ConfigError
from gnp.training.run import TrainingFailed

USER_ERRORS = (ConfigError, DataError, ConfigMismatch, RunBusy, CheckpointError, TrainingFailed)
GROUPS = ("model", "dataset", "augmentation", "optimizer", "base", "experiment")
