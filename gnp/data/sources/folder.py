"""An image folder ``root/{train,test}/<class>/*.png``, decoded once and cached in one file."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from gnp.data.errors import DataError, printable
from gnp.data.picture_cache import cached, fingerprint_of, store
from gnp.data.pictures import is_picture, read_image
from gnp.settings import DatasetSettings

NAMED = 5  # files that a message names, of those that it is about

log = logging.getLogger(__name__)


def load(settings: DatasetSettings, split: str) -> tuple[Tensor, Tensor]:
    """``load_folder`` with the settings' root."""
    return load_folder(settings.root, split)


def load_folder(root: str | Path, split: str) -> tuple[Tensor, Tensor]:
    """(images, labels) of "train" or "test"; images uint8 (N, 3, 32, 32). Of the other split only
    the names of its classes are read, if it is there.

    Classes are numbered in the order of their names, and a class's pictures are in the order of
    theirs. The decoded images are cached in ``root/.gnp-cache-<split>.pt`` (or, where that cannot
    be written, in the user's cache folder) and decoded again when a file is added, removed or
    changed, or when the cache is damaged.

    Raises:
        DataError: a folder is missing, empty or unreadable, train and test have different classes,
            a picture is in no class folder or deeper than in one, a link leads nowhere, or
            ``read_image`` refuses a picture; names the file.
    """
    root = Path(root)
    listing = list_split(root, split)
    if odd := sorted(_classes_of_the_other(root, split, listing) ^ listing.keys()):
        raise DataError(
            f"{root}: train and test must have the same classes; only one of them has {_some(odd)}"
        )
    files = [file for names in listing.values() for file in names]
    with _unreadable_is_refused():
        fingerprint = fingerprint_of(root, files)
    decoded = cached(root, split, fingerprint)
    if decoded is None:
        decoded = _decode(listing, sorted(listing))
        store(root, split, fingerprint, decoded)
    return decoded


def _classes_of_the_other(root: Path, split: str, known: Iterable[str]) -> set[str]:
    """Their names; ``known`` where there is no other split."""
    other = root / ("test" if split == "train" else "train")
    with _unreadable_is_refused():
        if not other.is_dir():
            return set(known)
        folders, _ = _contents(other)
    return {folder.name for folder in folders if not folder.name.startswith(".")}


def list_split(root: Path, split: str) -> dict[str, list[Path]]:
    """Class → its pictures. Files that are no pictures, and hidden folders, are left out and named
    in a warning.

    Raises:
        DataError: see ``load_folder``.
    """
    folder = root / split
    with _unreadable_is_refused():
        if not folder.is_dir():
            raise DataError(
                f"{folder} does not exist; dataset.source=folder expects "
                f"{root}/{{train,test}}/<class>/*.png: unpack the images there or set dataset.root "
                f"(those of results/: scripts/image_subset.py make)"
            )
    return list_classes(folder)


def load_classes(folder: Path, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """(images uint8 (N, 3, 32, 32), labels int64 (N,)) of a folder ``folder/<class>/*.png``, not
    cached.

    Args:
        classes: the names that its class folders must have, in the order of their numbers.

    Raises:
        DataError: as ``load_folder``, and for classes that are unknown or missing.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist; expected {folder}/<class>/*.png")
    listing = list_classes(folder)
    unknown, missing = sorted(listing.keys() - set(classes)), sorted(set(classes) - listing.keys())
    wrong = [f"{_some(unknown)} unknown"] if unknown else []
    wrong += [f"{_some(missing)} missing"] if missing else []
    if wrong:
        raise DataError(
            f"{folder} must have the {len(classes)} classes that were trained on, by their names: "
            f"{'; '.join(wrong)}"
        )
    return _decode(listing, list(classes))


def list_classes(folder: Path) -> dict[str, list[Path]]:
    """``list_split`` of a folder that is there."""
    with _unreadable_is_refused():
        folders, left_out = _contents(folder)
        if misplaced := [f for f in left_out if is_picture(f)]:
            raise DataError(
                f"{folder} has pictures outside of its class folders: "
                f"{_some([f.name for f in misplaced])}; move them to their class or elsewhere"
            )
        listing = {}
        for place in folders:
            if place.name.startswith("."):
                left_out.append(place)
                continue
            listing[place.name], others = _pictures_of(place)
            left_out += others
    if not listing:
        raise DataError(f"{folder} has no class folders; expected {folder}/<class>/*.png")
    for name, files in listing.items():
        if not files:
            raise DataError(
                f"{folder / name} has no pictures (.png, .jpg, .bmp, .tif, …); add some or remove "
                f"the class from train and test"
            )
    if left_out:
        names = _some([str(f.relative_to(folder)) for f in left_out])
        log.warning(
            "%s: left out, being no pictures in a class folder: %s",
            printable(folder),
            printable(names),
        )
    return listing


def _pictures_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """A class's pictures, and what else is in its folder."""
    folders, files = _contents(folder)
    for deeper in (f for f in folders if not f.name.startswith(".")):
        for place, _, names in os.walk(deeper, onerror=_raise):
            if pictures := sorted(name for name in names if is_picture(Path(name))):
                raise DataError(
                    f"{Path(place, pictures[0])} is deeper than in its class folder; move it to "
                    f"{folder}, or {deeper} elsewhere"
                )
    pictures = [f for f in files if is_picture(f)]
    return pictures, [f for f in files if not is_picture(f)] + folders


def _contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders and files in it, in the order of their names; links are followed."""
    folders, files = [], []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.is_dir():
                folders.append(path)
            elif entry.is_file():
                files.append(path)
            elif entry.is_symlink():
                raise DataError(
                    f"{path} is a link to {os.readlink(path)}, which does not exist; restore that "
                    f"or delete the link"
                )
            else:
                raise DataError(f"{path} is neither a file nor a folder; delete it")
    return folders, files


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _unreadable_is_refused() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be read ({error.strerror}); make it readable, delete it or "
            f"set dataset.root"
        ) from error


def _some(names: list[str]) -> str:
    more = f" … ({len(names)} in all)" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _decode(listing: dict[str, list[Path]], classes: list[str]) -> tuple[Tensor, Tensor]:
    images, labels = [], []
    for label, name in enumerate(classes):
        for file in listing[name]:
            images.append(read_image(file))
            labels.append(label)
    return torch.stack(images), torch.tensor(labels, dtype=torch.int64)
