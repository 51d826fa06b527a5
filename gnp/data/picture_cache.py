"""A split's decoded pictures in a file. It is believed only if whole and of the very files."""

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from gnp.data.digest import digest_of
from gnp.data.errors import printable
from gnp.files import StorageError, user_cache, write_atomically

CACHE_NAME = ".gnp-cache-{split}.pt"
NAMES = ("images", "labels")
# Part of the fingerprint: raise it when the same files are decoded to other tensors, or the file
# has other contents.
FORMAT = 3

log = logging.getLogger(__name__)


def fingerprint_of(root: Path, files: list[Path]) -> str:
    """Changes when a file is added, removed, renamed or written to, also where its size and time
    were put back afterwards: the time of the last change (``ctime``) cannot be. A copy of the
    folder is decoded anew."""
    digest = hashlib.sha256(f"format {FORMAT}\n".encode())
    for file in files:
        stat = file.stat()
        times = f"\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\n"
        digest.update(os.fsencode(file.relative_to(root)) + times.encode())
    return digest.hexdigest()


def cached(root: Path, split: str, fingerprint: str) -> tuple[Tensor, Tensor] | None:
    """The (images, labels) that were stored for a folder's split with this fingerprint, if there
    are such and they are undamaged."""
    for cache in _places(root, split):
        decoded = _read(cache, fingerprint)
        if decoded is not None:
            return decoded
    return None


def store(root: Path, split: str, fingerprint: str, decoded: tuple[Tensor, Tensor]) -> None:
    """Write ``root/.gnp-cache-<split>.pt`` or, where that fails, a file in the user's cache folder;
    where that fails, too, the pictures are decoded each time."""
    tensors = dict(zip(NAMES, decoded, strict=True))
    checksum = digest_of(fingerprint, list(tensors.values()))
    stored = {"fingerprint": fingerprint, "checksum": checksum, **tensors}
    for cache in _places(root, split):
        # Several runs may start at once: each writes its own file, the last rename stays.
        with suppress(StorageError):
            write_atomically(cache, lambda file: torch.save(stored, file))
            return


def _places(root: Path, split: str) -> list[Path]:
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return [root / CACHE_NAME.format(split=split), user_cache() / f"{name}-{split}.pt"]


def _read(cache: Path, fingerprint: str) -> tuple[Tensor, Tensor] | None:
    if not os.path.isfile(cache):
        return None
    try:
        stored = torch.load(cache, weights_only=True)
        if stored["fingerprint"] != fingerprint:
            return None  # of files as they were
        tensors = [stored[name] for name in NAMES]
        whole = digest_of(fingerprint, tensors) == stored["checksum"]
    except Exception:  # truncated, foreign, unreadable
        whole = False
    if not whole:
        log.warning("%s is damaged: the pictures are decoded again", printable(cache))
        return None
    images, labels = tensors
    return images, labels
