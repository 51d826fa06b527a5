"""An image folder ``root/{train,test}/<class>/*.png``, decoded once and cached in one file."""

import hashlib
import os
import tempfile
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from gnp.data.errors import DataError
from gnp.settings import DatasetSettings

EXTENSIONS = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
SIZE = (32, 32)
CACHE_NAME = ".gnp-cache.pt"


def load(settings: DatasetSettings) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """``load_folder`` with the settings' root."""
    return load_folder(settings.root)


def load_folder(root: str | Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((train images, labels), (test images, labels)); images uint8 (N, 3, 32, 32).

    Classes are numbered in the order of their names. The decoded images are cached in
    ``root/.gnp-cache.pt`` (or, where that cannot be written, in the user's cache folder) and
    decoded again when a file is added, removed or changed.

    Raises:
        DataError: a folder is missing or empty, train and test have different classes, or a
            picture is damaged or not 32×32; names the file.
    """
    root = Path(root)
    listing = {split: list_split(root, split) for split in ("train", "test")}
    classes = sorted(listing["train"])
    if sorted(listing["test"]) != classes:
        odd = sorted(set(listing["test"]) ^ set(classes))
        raise DataError(
            f"{root}: train and test must have the same classes; only one of them has "
            f"{', '.join(odd[:5])}{' …' if len(odd) > 5 else ''}"
        )
    files = [f for split in listing.values() for names in split.values() for f in names]
    fingerprint = _fingerprint(root, files)
    for cache in _cache_places(root):
        cached = _read_cache(cache, fingerprint)
        if cached is not None:
            return cached
    splits = tuple(_decode(listing[split], classes) for split in ("train", "test"))
    _write_cache(root, fingerprint, splits)
    return splits


def list_split(root: Path, split: str) -> dict[str, list[Path]]:
    folder = root / split
    if not folder.is_dir():
        raise DataError(
            f"{folder} does not exist; dataset.source=folder expects "
            f"{root}/{{train,test}}/<class>/*.png: unpack the images there or set dataset.root "
            f"(those of results/: scripts/image_subset.py make)"
        )
    listing = {
        d.name: sorted(f for f in d.iterdir() if f.suffix.lower() in EXTENSIONS)
        for d in sorted(folder.iterdir())
        if d.is_dir() and not d.name.startswith(".")
    }
    if not listing:
        raise DataError(f"{folder} has no class folders; expected {folder}/<class>/*.png")
    for name, files in listing.items():
        if not files:
            raise DataError(
                f"{folder / name} has no pictures ({', '.join(sorted(EXTENSIONS))}); add some or "
                f"remove the class from train and test"
            )
    return listing


def _fingerprint(root: Path, files: list[Path]) -> str:
    """Changes when a file is added, removed, renamed, or has another size or time."""
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        digest.update(f"{file.relative_to(root)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _decode(listing: dict[str, list[Path]], classes: list[str]) -> tuple[Tensor, Tensor]:
    images, labels = [], []
    for label, name in enumerate(classes):
        for file in listing[name]:
            images.append(read_image(file))
            labels.append(label)
    return torch.stack(images), torch.tensor(labels, dtype=torch.int64)


def read_image(file: Path) -> Tensor:
    try:
        with Image.open(file) as picture:
            image = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on damaged files
        raise DataError(
            f"{file} is not a readable picture ({error}); replace or delete it"
        ) from error
    if image.size != SIZE:
        raise DataError(
            f"{file} is {image.width}×{image.height} pixels; expected 32×32: resize or delete it"
        )
    return pil_to_tensor(image)


def _cache_places(root: Path) -> list[Path]:
    base = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return [root / CACHE_NAME, base / "gnp" / f"{name}.pt"]


def _read_cache(cache: Path, fingerprint: str):
    """The splits in ``cache`` if it is whole and of these files, else None."""
    if not cache.is_file():
        return None
    try:
        stored = torch.load(cache, weights_only=True)
    except Exception:  # truncated or foreign: as good as none, it is rewritten
        return None
    if stored.get("fingerprint") != fingerprint:
        return None
    return tuple((stored[f"{s}_images"], stored[f"{s}_labels"]) for s in ("train", "test"))


def _write_cache(root: Path, fingerprint: str, splits) -> None:
    stored = {"fingerprint": fingerprint}
    for name, (images, labels) in zip(("train", "test"), splits, strict=True):
        stored |= {f"{name}_images": images, f"{name}_labels": labels}
    for cache in _cache_places(root):
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            # Several runs may start at once: each writes its own file, the last rename stays.
            handle, temporary = tempfile.mkstemp(dir=cache.parent, suffix=".tmp")
        except OSError:
            continue  # read-only folder
        try:
            with os.fdopen(handle, "wb") as file:
                torch.save(stored, file)
            os.chmod(temporary, 0o644)  # mkstemp's file is its owner's alone
            os.replace(temporary, cache)
        except (OSError, RuntimeError):  # disk full: the images are decoded, a cache can wait
            Path(temporary).unlink(missing_ok=True)
            continue
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return
