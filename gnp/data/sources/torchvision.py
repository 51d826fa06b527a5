"""CIFAR-10 and CIFAR-100 through torchvision: its download, its checksums, its file format.

Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from gnp.data.errors import DataError
from gnp.settings import DatasetSettings

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger(__name__)

CIFAR = {10: CIFAR10, 100: CIFAR100}


def load(settings: DatasetSettings, split: str) -> tuple[Tensor, Tensor]:
    """``load_cifar`` with the settings' root, classes and download."""
    return load_cifar(settings.root, split, settings.num_classes, settings.download)


def load_cifar(
    root: str | Path, split: str, num_classes: int, download: bool
) -> tuple[Tensor, Tensor]:
    """(images, labels) of "train" or "test"; images uint8 (N, 3, 32, 32).

    Raises:
        DataError: no such CIFAR; files missing, truncated or with a wrong checksum.
    """
    if num_classes not in CIFAR:
        raise DataError(
            f"torchvision has CIFAR-10 and CIFAR-100, not {num_classes} classes; "
            f"set dataset.num_classes to 10 or 100, or dataset.source=folder"
        )
    return _load(CIFAR[num_classes], Path(root), split == "train", download)


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Runs that start together must not write the same download: the others wait and find it.

    Where there are no locks the checksums alone tell a download that two wrote at once.
    """
    root.mkdir(parents=True, exist_ok=True)
    with open(root / ".gnp-download.lock", "w") as lock:
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:  # Lustre, some NFS
            log.warning("no file locks in %s (%s): start no second download there", root, error)
        yield


def _load(dataset_class: type, root: Path, train: bool, download: bool) -> tuple[Tensor, Tensor]:
    folder, archive = root / dataset_class.base_folder, root / dataset_class.filename
    try:
        try:
            data = dataset_class(str(root), train=train, download=False)
        except RuntimeError:  # not found or corrupted
            if not download:
                raise
            with _one_at_a_time(root):
                data = dataset_class(str(root), train=train, download=True)
    except Exception as error:  # URLError, RuntimeError, EOFError, UnpicklingError, tar errors
        if archive.exists() or folder.exists():
            cure = f"Delete {folder} and {archive.name} there and run again to download them anew"
        else:
            cure = (
                f"Put {archive.name} (from {dataset_class.url}) into {root} by hand, or use "
                f"images that you have (dataset.source=folder), or dataset=synthetic"
            )
        if not download:
            cure += "; or set dataset.download=true"
        raise DataError(
            f"{dataset_class.__name__} in {folder} is missing or damaged ({error}). {cure}."
        ) from error
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(data.targets, dtype=torch.int64)


def class_names(root: str | Path, num_classes: int) -> list[str]:
    """Names of the classes, in the order of their numbers.

    Raises:
        DataError: as ``load_cifar``; nothing is downloaded.
    """
    load_cifar(root, "test", num_classes, download=False)
    return list(CIFAR[num_classes](str(root), train=False, download=False).classes)
