"""A data set is four tensors: all images and labels, for training and for evaluation.

CIFAR is 150 MB as uint8: it lives on the device, and no worker process ever touches it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gnp.data.cifar import load_cifar
from gnp.data.errors import DataError
from gnp.data.folder import load_folder
from gnp.data.synthetic import draw_synthetic

__all__ = ["DataError", "ImageData", "Split", "load_dataset"]

SOURCES = ("torchvision", "folder", "synthetic")


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, 3, H, W) and labels int64 (N,), on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, indices: Tensor) -> "Split":
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class ImageData:
    """A training split and the split that is evaluated each epoch.

    ``evaluated`` names the latter: "test", or "validation" where images were held out of the
    training set; then the test images are not even loaded to the device.
    ``mean`` and ``std`` are per channel, of images scaled to [0, 1].
    """

    train: Split
    evaluation: Split
    evaluated: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load_dataset(
    source: str,
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    root: str | Path = "data",
    download: bool = True,
    train_per_class: int | None = None,
    validation_per_class: int = 0,
    subset_seed: int = 0,
    synthetic_seed: int = 0,
    synthetic_train_per_class: int = 200,
    synthetic_test_per_class: int = 100,
    device: torch.device | str = "cpu",
) -> ImageData:
    """Load a data set to ``device``.

    Args:
        source: "torchvision" (CIFAR-10 or -100 by ``num_classes``, downloaded to ``root``),
            "folder" (``root/{train,test}/<class>/*.png``) or "synthetic" (drawn here).
        num_classes: how many classes the images must have.
        mean, std: per channel, of images scaled to [0, 1].
        root: where torchvision's files or the folder are.
        download: whether torchvision may download what ``root`` lacks.
        train_per_class: use this many training images of each class; None uses all.
        validation_per_class: hold out this many of each class and evaluate on them, not on the
            test set. Held out before ``train_per_class`` is taken, so both runs of a comparison
            see the same validation images.
        subset_seed: which images both of them draw. Apart from the run's seed, so that seeds
            differ in training, not in data.
        synthetic_seed, synthetic_train_per_class, synthetic_test_per_class: of "synthetic".

    Raises:
        DataError: files are missing, truncated, of the wrong size or count; says which and what
            to do.
    """
    if source == "torchvision":
        train, test = load_cifar(root, num_classes, download)
    elif source == "folder":
        train, test = load_folder(root)
    elif source == "synthetic":
        train, test = (
            draw_synthetic(num_classes, synthetic_train_per_class, seed=2 * synthetic_seed),
            draw_synthetic(num_classes, synthetic_test_per_class, seed=2 * synthetic_seed + 1),
        )
    else:
        raise DataError(f"dataset.source is {source!r}; expected one of {', '.join(SOURCES)}")
    train, test = Split(*train), Split(*test)
    where = "the drawn images" if source == "synthetic" else str(root)
    for name, split in (("train", train), ("test", test)):
        _check_classes(split, num_classes, f"{where} ({name})")

    generator = torch.Generator().manual_seed(subset_seed)
    order = _shuffled_by_class(train.labels, num_classes, generator)
    evaluation, evaluated = test, "test"
    if validation_per_class:
        evaluation = train.take(_first(order, 0, validation_per_class, "validation_per_class"))
        evaluated = "validation"
    if train_per_class is not None or validation_per_class:
        train = train.take(_first(order, validation_per_class, train_per_class, "train_per_class"))
    return ImageData(
        train=train.to(device),
        evaluation=evaluation.to(device),
        evaluated=evaluated,
        num_classes=num_classes,
        mean=tuple(mean),
        std=tuple(std),
    )


def _check_classes(split: Split, num_classes: int, where: str) -> None:
    found = len(torch.unique(split.labels))
    if found != num_classes:
        raise DataError(
            f"{where} has images of {found} classes, but dataset.num_classes is {num_classes}; "
            f"set dataset.num_classes={found} or point dataset.root at the right data"
        )


def _shuffled_by_class(
    labels: Tensor, num_classes: int, generator: torch.Generator
) -> list[Tensor]:
    """For each class its images' indices in random order."""
    order = torch.randperm(len(labels), generator=generator)
    return [order[labels[order] == c] for c in range(num_classes)]


def _first(order: list[Tensor], skip: int, count: int | None, option: str) -> Tensor:
    """``count`` indices of each class after the first ``skip``, sorted; None takes all the rest."""
    smallest = min(len(indices) for indices in order) - skip
    if smallest < 1 or (count is not None and not 1 <= count <= smallest):
        raise DataError(
            f"dataset.{option}={count}: the smallest class has {smallest + skip} training images"
            + (f", of which {skip} are held out for validation" if skip else "")
            + f"; choose from 1 to {max(smallest, 0)}"
        )
    stop = None if count is None else skip + count
    return torch.cat([indices[skip:stop] for indices in order]).sort().values
