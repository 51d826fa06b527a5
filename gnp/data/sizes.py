"""How many images a data set has: counted without them where its source says so."""

from functools import partial

import torch
from torch import Tensor

from gnp.data.dataset import arranged
from gnp.data.sources import Images, load_source
from gnp.settings import DatasetSettings

# CIFAR's, by its number of classes: training and test images of each class.
CIFAR = {10: (5000, 1000), 100: (500, 100)}


def sizes(settings: DatasetSettings) -> tuple[int, int]:
    """Images that are trained on and that are evaluated each epoch. Nothing is downloaded or drawn.

    Raises:
        DataError: as ``load_dataset``; for torchvision's only if there are too few images.
    """
    stand_ins = _stand_ins(settings)
    load = partial(load_source, settings) if stand_ins is None else stand_ins.__getitem__
    data = arranged(load, settings)
    return len(data.train), len(data.evaluation)


def _stand_ins(settings: DatasetSettings) -> dict[str, Images] | None:
    """Images without pixels, as many of each class as the source has, where that is known."""
    classes = settings.num_classes
    if settings.source == "synthetic":
        per_class = (settings.synthetic_train_per_class, settings.synthetic_test_per_class)
    elif settings.source == "torchvision" and classes in CIFAR:
        per_class = CIFAR[classes]
    else:
        return None
    return {"train": _blank(classes, per_class[0]), "test": _blank(classes, per_class[1])}


def _blank(classes: int, per_class: int) -> tuple[Tensor, Tensor]:
    labels = torch.arange(classes).repeat(per_class)
    return torch.empty(len(labels), 0, dtype=torch.uint8), labels
