"""What the augmentation of a run makes of a few training images, as one picture. Needs torch."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnp.data import Augmentation, ImageData, Normalise, load_dataset
from gnp.errors import UserError
from gnp.settings import AugmentationSettings, DatasetSettings
from gnp.settings.messages import checked
from gnp.settings.section import unrecorded_of
from gnp.tracking.reading import FinishedRecord

IMAGES, DRAWS, SCALE = 8, 3, 2  # of one picture; a pixel becomes SCALE × SCALE


class Pictures:
    """Pictures of records, each made once for all runs with the same images and augmentation.

    Args:
        dataset_of: name → its settings, places included; a record has none.

    Attributes:
        failed: {data set, or that and an augmentation: why there is no picture of it}.
    """

    def __init__(self, dataset_of: Callable[[str], DatasetSettings]):
        self._dataset_of = dataset_of
        self._data: dict[str, ImageData | None] = {}
        self._drawn: dict[tuple[str, str], np.ndarray] = {}
        self.failed: dict[str, str] = {}

    def __call__(self, record: FinishedRecord) -> np.ndarray | None:
        """uint8 (H, W, 3): images in a row, their augmented draws below; None without the data, or
        with settings that this code does not know."""
        settings, name = record.config["augmentation"], record.summary["dataset"]
        key = (name, json.dumps(settings, sort_keys=True))
        if key not in self._drawn and (data := self._load(name)) is not None:
            whole = unrecorded_of(AugmentationSettings) | settings
            try:
                augmentation = Augmentation(checked(AugmentationSettings, whole))
            except UserError as error:
                self.failed[f"{name}-{record.summary['augmentation']}"] = str(error)
            else:
                self._drawn[key] = picture(data, augmentation)
        return self._drawn.get(key)

    def _load(self, name: str) -> ImageData | None:
        if name not in self._data:
            self._data[name] = None
            try:
                self._data[name] = load_dataset(self._dataset_of(name), torch.device("cpu"))
            except UserError as error:
                self.failed[name] = str(error)
        return self._data[name]


def picture(data: ImageData, augmentation: Augmentation) -> np.ndarray:
    """The first images of as many classes as there are, and below them ``DRAWS`` augmented batches
    of them, with their normalisation undone."""
    labels = data.train.labels
    firsts = [int((labels == label).nonzero()[0]) for label in labels.unique()]
    chosen = (firsts * IMAGES)[:IMAGES]
    train = data.train.take(torch.tensor(chosen))
    normalise = Normalise(data.mean, data.std, train.images.device)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
    generator = torch.Generator().manual_seed(0)
    rows = [train.images / 255]
    for _ in range(DRAWS):
        images, _ = augmentation.batch(
            augmentation.whole_epoch(train.images, generator),
            train.labels,
            normalise,
            data.num_classes,
            generator,
        )
        rows.append((images * std + mean).clamp(0, 1))
    return _side_by_side(torch.stack(rows))


def _side_by_side(rows: Tensor) -> Any:
    """(R, B, 3, H, W) in [0, 1] → uint8 (R·H·SCALE, B·W·SCALE, 3)."""
    r, b, c, h, w = rows.shape
    whole = rows.permute(0, 3, 1, 4, 2).reshape(r * h, b * w, c)
    large = whole.repeat_interleave(SCALE, 0).repeat_interleave(SCALE, 1)
    return (255 * large).round().to(torch.uint8).numpy()
