"""A data set is four tensors: all images and labels, for training and for evaluation.

CIFAR is 150 MB as uint8: it lives on the device, and no worker process ever touches it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from gnp.data.digest import digest_of
from gnp.data.errors import DataError
from gnp.data.label_noise import noisy
from gnp.data.sources import Images, load_source
from gnp.settings import DatasetSettings

DIGEST_DIGITS = 16


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, 3, H, W) and labels int64 (N,), on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that name these images and labels, in their order."""
        return digest_of(self.images, self.labels)[:DIGEST_DIGITS]

    def to(self, device: torch.device | str) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, indices: Tensor) -> "Split":
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class ImageData:
    """A training split, its labels as they are trained on, and the split that is evaluated.

    ``evaluated`` names the latter: "test", or "validation" where images were held out of the
    training set; then the test images are not even read.
    ``mean`` and ``std`` are per channel, of images scaled to [0, 1].
    """

    train: Split
    evaluation: Split
    evaluated: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that name what is trained on and evaluated, in its order.

        They are of the pixels, the labels and which split is evaluated: the same on every device
        and from whatever files the images were read. ``mean`` and ``std`` are settings, and not in
        it. CIFAR takes 0.1 to 0.5 s.
        """
        splits = (self.train, self.evaluation)
        tensors = [tensor for split in splits for tensor in (split.images, split.labels)]
        return digest_of(self.evaluated, tensors)[:DIGEST_DIGITS]


def load_dataset(settings: DatasetSettings, device: torch.device | str = "cpu") -> ImageData:
    """Load a data set to ``device``; its test images only where they are evaluated.

    Raises:
        DataError: files are missing, truncated, of the wrong size or count; says which and what
            to do.
    """
    return arranged(partial(load_source, settings), settings, device)


def arranged(
    load: Callable[[str], Images], settings: DatasetSettings, device: torch.device | str = "cpu"
) -> ImageData:
    """What is trained on and evaluated, of the images that ``load`` has of "train" and "test".

    Raises:
        DataError: classes or images are missing.
    """

    def whole(name: str) -> Split:
        split = Split(*load(name))
        _check_classes(split, settings.num_classes, f"{settings.root} ({name})")
        return split

    train = whole("train")
    held_out, per_class = settings.validation_per_class, settings.train_per_class
    generator = torch.Generator().manual_seed(settings.subset_seed)
    order = _shuffled_by_class(train.labels, settings.num_classes, generator)
    if held_out:
        evaluation = train.take(_first(order, 0, held_out, "validation_per_class"))
        evaluated = "validation"
    else:
        evaluation, evaluated = whole("test"), "test"
    if per_class is not None or held_out:
        train = train.take(_first(order, held_out, per_class, "train_per_class"))
    train = replace(train, labels=noisy(train.labels, settings))
    return ImageData(
        train=train.to(device),
        evaluation=evaluation.to(device),
        evaluated=evaluated,
        num_classes=settings.num_classes,
        mean=tuple(settings.mean),
        std=tuple(settings.std),
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
    most = smallest = min(len(indices) for indices in order)
    note = ""
    if option == "validation_per_class":
        most, note = smallest - 1, ", of which one at least is to train on"
    elif skip:
        most, note = smallest - skip, f", of which {skip} are held out for validation"
    if count is not None and not 1 <= count <= most:
        raise DataError(
            f"dataset.{option}={count}: the smallest class has {smallest} training images{note}; "
            + (f"choose from 1 to {most}" if most else "it needs more")
        )
    stop = None if count is None else skip + count
    return torch.cat([indices[skip:stop] for indices in order]).sort().values
