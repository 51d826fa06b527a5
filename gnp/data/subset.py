"""A published subset of CIFAR: the list of its images, and the image folder made from it again.

A list names each training image with a digest of its pixels and has one digest of all test images,
so any copy of CIFAR will do, in whatever order, and a wrong one is found out.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from gnp.data.errors import DataError
from gnp.data.pictures import read_image
from gnp.data.sources.folder import list_split

DIGITS = 12  # of 50,000 images no two agree in 48 bits by chance (probability 5e-6)
TEST = "test"

Images = tuple[Tensor, Tensor]
Progress = Callable[[Iterable, int], Iterable]


@dataclass(frozen=True)
class Subset:
    """``train`` has "<class>/<file>" → digest, in the order of the list; ``test`` is one digest."""

    train: dict[str, str]
    test: str

    @property
    def classes(self) -> list[str]:
        return sorted({name.split("/")[0] for name in self.train})


def describe_folder(root: str | Path) -> Subset:
    """The list of an image folder ``root/{train,test}/<class>/*.png``.

    Raises:
        DataError: as ``load_folder``, and for a name that a list cannot have.
    """
    root = Path(root)
    train = {
        f"{name}/{file.name}": digest(read_image(file))
        for name, files in list_split(root, "train").items()
        for file in files
    }
    for name in train:
        if not _is_listable(name):
            raise DataError(f"{root / 'train' / name}: a list has no such name; rename it")
    test = (file for files in list_split(root, TEST).values() for file in files)
    return Subset(train, digest_of_all(map(read_image, test)))


def to_text(subset: Subset) -> str:
    lines = [f"{TEST} {subset.test}", *(f"{name} {d}" for name, d in subset.train.items())]
    return "\n".join(lines) + "\n"


def from_text(text: str, where: str) -> Subset:
    """Raises DataError, with ``where``, for text that ``to_text`` did not write."""
    lines = [line.rpartition(" ") for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]
    digests = {name: d for name, _, d in lines}
    train = {name: d for name, d in digests.items() if name != TEST}
    if len(digests) < len(lines) or TEST not in digests or not all(map(_is_listable, train)):
        raise DataError(
            f"{where} is no list of images; expected one of results/images, or what "
            f"image_subset.py list has written"
        )
    return Subset(train, digests[TEST])


def _is_listable(name: str) -> bool:
    """Whether it is "<class>/<file>", in UTF-8 and one line, and leads nowhere else."""
    parts = name.split("/")
    if len(parts) != 2 or {"", ".", ".."} & set(parts) or set(name) & set("\r\n\0"):
        return False
    return name.encode(errors="ignore").decode() == name


def make_folder(
    subset: Subset,
    splits: tuple[Images, Images],
    root: str | Path,
    progress: Progress = lambda images, count: images,
) -> None:
    """Write the subset as an image folder ``root``: the listed training images under their names,
    all test images under their numbers. Appears whole or not at all.

    Args:
        subset: the list.
        splits: (train images, labels), (test images, labels) of the whole data set; images uint8
            (N, 3, 32, 32), classes numbered in the order of their names.
        root: where; must not exist.
        progress: (iterable, its length) → the same, showing how far it is.

    Raises:
        DataError: ``root`` exists, or the images are not those that the list was made from.
    """
    root = Path(root)
    if root.exists():
        raise DataError(f"{root} exists already; delete it or choose another place")
    (train, labels), (test, test_labels) = splits
    classes = subset.classes
    if (found := int(labels.max()) + 1) != len(classes):
        raise DataError(f"the data set has {found} classes, the list {len(classes)}")
    if digest_of_all(test) != subset.test:
        raise DataError("the test images are not those that the list was made from")
    at = {
        (classes[label], digest(image)): k
        for k, (image, label) in enumerate(zip(train, labels.tolist(), strict=True))
    }
    wanted = {name: at.get((name.split("/")[0], d)) for name, d in subset.train.items()}
    if missing := [name for name, k in wanted.items() if k is None]:
        raise DataError(
            f"{len(missing)} of {len(wanted)} listed images are not among the training images, "
            f"{missing[0]} for one: it is another data set than the list was made from"
        )
    pictures = [(f"train/{name}", train[k]) for name, k in wanted.items()]
    pictures += [
        (f"test/{classes[label]}/{k:05d}.png", image)
        for k, (image, label) in enumerate(zip(test, test_labels.tolist(), strict=True))
    ]
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a call that was stopped
    for name, image in progress(pictures, len(pictures)):
        file = partial / name
        file.parent.mkdir(parents=True, exist_ok=True)
        # PNG under whatever name: JPEG would change the pixels, and readers look at the content.
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, format="PNG")
    os.replace(partial, root)


def digest(image: Tensor) -> str:
    """Of the pixels of a uint8 (3, 32, 32) image, in the order of CIFAR's own files."""
    return hashlib.sha256(image.numpy().tobytes()).hexdigest()[:DIGITS]


def digest_of_all(images: Iterable[Tensor]) -> str:
    """Of a set of images, whatever their order."""
    return hashlib.sha256("\n".join(sorted(map(digest, images))).encode()).hexdigest()
