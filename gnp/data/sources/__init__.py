"""Where images come from: a file here is a source, which ``dataset.source`` names.

It has a function ``load(settings, split)`` that returns (images, labels) of the split "train" or
"test": images uint8 (N, 3, 32, 32), labels int64 (N,) from 0. What it cannot load it refuses with
a ``DataError``.
"""

from importlib import import_module

from torch import Tensor

from gnp.settings import DatasetSettings

Images = tuple[Tensor, Tensor]


def load_source(settings: DatasetSettings, split: str) -> Images:
    """What the source that the settings name has of a split."""
    return import_module(f"{__name__}.{settings.source}").load(settings, split)
