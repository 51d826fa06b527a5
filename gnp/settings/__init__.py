"""One definition of each setting: name, type, range or choices, default, one line of help.

The ground that everything else takes its settings from. Imports no torch.
"""

from gnp.settings.augmentation import AugmentationSettings
from gnp.settings.compose import resolve, validate
from gnp.settings.dataset import DatasetSettings
from gnp.settings.messages import ConfigError, checked, suggest
from gnp.settings.optimizer import OptimizerSettings, epochs_before_penalty
from gnp.settings.run import (
    Composed,
    Config,
    path_of,
    run_path,
    setting_names,
    to_plain,
    unrecorded,
)
from gnp.settings.runtime import RuntimeSettings
from gnp.settings.section import Section, setting
from gnp.settings.training import (
    PROBED_BATCHES,
    TrainingSettings,
    batches_of,
    is_due,
    is_evaluated,
    snapshot_epochs,
)
from gnp.settings.wandb import WandbSettings

__all__ = [
    "PROBED_BATCHES",
    "AugmentationSettings",
    "Composed",
    "Config",
    "ConfigError",
    "DatasetSettings",
    "OptimizerSettings",
    "RuntimeSettings",
    "Section",
    "TrainingSettings",
    "WandbSettings",
    "batches_of",
    "checked",
    "epochs_before_penalty",
    "is_due",
    "is_evaluated",
    "path_of",
    "resolve",
    "run_path",
    "setting",
    "setting_names",
    "snapshot_epochs",
    "suggest",
    "to_plain",
    "unrecorded",
    "validate",
]
