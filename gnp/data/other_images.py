"""Other images of the classes that a network was trained on, to be evaluated only.

CIFAR-10.1: Recht et al., *Do CIFAR-10 Classifiers Generalize to CIFAR-10?*, 2018
(github.com/modestyachts/CIFAR-10.1): ``cifar10.1_v6_data.npy`` and ``cifar10.1_v6_labels.npy``,
2,000 images; v4, 2,021.

CIFAR-10-C and CIFAR-100-C: Hendrycks and Dietterich, *Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations*, ICLR 2019: a ``<corruption>.npy`` for each corruption, the
test images at severities 1 to 5 one after the other (50,000 in all), and one ``labels.npy``.

All images are uint8 (N, 32, 32, 3).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gnp.data.dataset import Split
from gnp.data.errors import DataError
from gnp.data.sources.folder import load_classes
from gnp.data.sources.torchvision import class_names
from gnp.settings import DatasetSettings

VERSIONS = ("v4", "v6")
SEVERITIES = 5
# The paper's 15; four more, which its authors give for choosing settings, are in no mean.
CORRUPTIONS = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)


@dataclass(frozen=True)
class Named:
    """Images to be evaluated, and what they are called."""

    name: str
    split: Split
    corruption: str | None = None
    severity: int | None = None

    @property
    def in_mean(self) -> bool:
        """Is it one of the corruptions over which the paper takes the mean?"""
        return self.corruption in CORRUPTIONS


def image_folder(folder: Path, settings: DatasetSettings) -> Iterator[Named]:
    """``folder/<class>/*.png``, with the names of the training classes.

    Raises:
        DataError: a class is unknown or missing; the training classes' names are not known.
    """
    if settings.source == "torchvision":
        classes = class_names(settings.root, settings.num_classes)
    elif settings.source == "folder":
        train = Path(settings.root, "train")
        if not train.is_dir():
            raise DataError(
                f"{train}, which has the names of the training classes, does not exist; set the "
                f"data root"
            )
        classes = sorted(p.name for p in train.iterdir() if p.is_dir() and p.name[0] != ".")
    else:
        raise DataError(f"the classes of the source {settings.source!r} have no names")
    if len(classes) != settings.num_classes:
        raise DataError(
            f"{settings.root} has {len(classes)} classes, the network {settings.num_classes}"
        )
    yield Named(folder.name or str(folder), Split(*load_classes(folder, classes)))


def cifar10_1(folder: Path) -> Iterator[Named]:
    """Each version that is there.

    Raises:
        DataError: none is, or a file is not what it should be.
    """
    found = [v for v in VERSIONS if (folder / f"cifar10.1_{v}_data.npy").is_file()]
    if not found:
        raise DataError(f"{folder} has no cifar10.1_v6_data.npy and no cifar10.1_v4_data.npy")
    for version in found:
        images = _images(folder / f"cifar10.1_{version}_data.npy")
        labels = _labels(folder / f"cifar10.1_{version}_labels.npy", len(images), 10)
        yield Named(f"CIFAR-10.1 {version}", _split(images, labels))


def cifar_c(folder: Path, classes: int) -> Iterator[Named]:
    """Each corruption at each severity, the paper's in its order, then any others.

    Args:
        classes: 10 or 100.

    Raises:
        DataError: there are no corruptions, or a file is not what it should be.
    """
    found = sorted(file.stem for file in folder.glob("*.npy") if file.stem != "labels")
    if not found:
        raise DataError(
            f"{folder} has no <corruption>.npy such as gaussian_noise.npy; unpack "
            f"CIFAR-{classes}-C there"
        )
    known = [name for name in CORRUPTIONS if name in found]
    for name in [*known, *(name for name in found if name not in CORRUPTIONS)]:
        images = _images(folder / f"{name}.npy")
        labels = _labels(folder / "labels.npy", len(images), classes)
        if len(images) % SEVERITIES:
            raise DataError(
                f"{folder / name}.npy has {len(images)} images, which are no {SEVERITIES} "
                f"severities of as many"
            )
        each = len(images) // SEVERITIES
        for severity in range(SEVERITIES):
            part = slice(severity * each, (severity + 1) * each)
            split = _split(images[part], labels[part])
            yield Named(f"{name} {severity + 1}", split, name, severity + 1)


def _images(path: Path) -> np.ndarray:
    """uint8 (N, 32, 32, 3); on the disk, until a part is taken: CIFAR-10-C has 2.9 GB."""
    images = _array(path)
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3) or len(images) == 0:
        raise DataError(
            f"{path} has an array of {images.dtype} {images.shape}; expected uint8 (N, 32, 32, 3)"
        )
    return images


def _labels(path: Path, images: int, classes: int) -> np.ndarray:
    labels = _array(path)
    if labels.dtype.kind not in "iu" or labels.shape != (images,):
        raise DataError(
            f"{path} has an array of {labels.dtype} {labels.shape}; expected integers ({images},), "
            f"one for each image"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"{path} has labels from {labels.min()} to {labels.max()}; expected 0 to {classes - 1}"
        )
    return labels


def _array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no array of NumPy's ({error}); get it again") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path} holds several arrays; expected one")
    return array


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).contiguous()
    return Split(pixels, torch.from_numpy(labels.astype(np.int64)))
