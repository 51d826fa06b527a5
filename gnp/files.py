"""Files that are either whole or not there, and what is said when the disk refuses them."""

import errno
import io
import itertools
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from gnp.errors import UserError
from gnp.machine import cure

# What a file system answers that has no such call; any other refusal means that data may be lost.
NO_FSYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}


class StorageError(UserError, OSError):
    """A file could not be written or opened; the message says which, why and what to do."""

    exit_status = 1


@contextmanager
def storing(path: str | Path, verb: str = "write") -> Iterator[None]:
    """An ``OSError`` in this context becomes a ``StorageError`` about ``path``."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(path, error, verb) from error


def storage_error(path: str | Path, error: OSError, verb: str = "write") -> StorageError:
    return StorageError(f"cannot {verb} {path} ({error.strerror or error}): {cure(error)}")


def write_atomically(
    path: str | Path, write: Callable[[IO[bytes]], Any], make_folder: bool = True
) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it onto ``path``.

    A reader, or a run after ``kill -9``, a full disk or a power cut, finds the old file or the new
    one.

    Args:
        make_folder: make the folder, if it does not exist. Not in a record: one that was removed
            while its run was at work must not come back as half of it.

    Raises:
        StorageError: it could not be written; the old file is as it was.
    """
    path = Path(path)
    # The name is cut, for a name that is just short enough must not fail by its temporary file.
    temporary = path.parent / f".{path.name[:40]}-{secrets.token_hex(4)}.tmp"
    raw = None
    try:
        with storing(path):
            if make_folder:
                path.parent.mkdir(parents=True, exist_ok=True)
            # "x": made by us. The process's umask decides who reads it, so no chmod is needed,
            # which CIFS and some FUSE file systems refuse.
            raw = _Raw(temporary, "xb")
            with io.BufferedWriter(raw) as file:
                write(file)
                file.flush()
                bring_to_disk(file)
        with storing(path, "replace"):
            os.replace(temporary, path)
    except BaseException as error:
        if raw is not None:
            with suppress(OSError):
                temporary.unlink()
        # torch.save turns a full disk into RuntimeError("unexpected pos 75840 vs 75736").
        if isinstance(error, Exception) and raw is not None and raw.failure is not None:
            raise storage_error(path, raw.failure) from error
        raise


class _Raw(io.FileIO):
    """A file that remembers the error that ended its writing."""

    failure: OSError | None = None

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            raise


def append(path: str | Path, text: str) -> None:
    """Append ``text`` and bring it to the disk.

    Raises:
        StorageError: it could not be written whole; the file is as it was.
    """
    with storing(path), open(path, "ab", buffering=0) as file:
        length = file.seek(0, os.SEEK_END)
        data = text.encode()
        try:
            while data:
                data = data[file.write(data) :]
            bring_to_disk(file)
        except BaseException:
            with suppress(OSError):
                file.truncate(length)
            raise


def end_of(path: str | Path, size: int) -> str:
    """The text in the last ``size`` bytes of a file, whatever they are; "" where it cannot be
    read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def bring_to_disk(file: IO[bytes]) -> None:
    """``fsync``, where the file system has it: some network and FUSE file systems do not."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NO_FSYNC:
            raise


def put_aside(path: Path) -> Path:
    """Rename a file, or what lies where it belongs, so that its name is free and nothing is lost.
    Returns its new path, which ends in ".damaged" or a number behind that."""
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}.damaged{number if number > 1 else ''}")
        # A file may take the place of a file; what else is there stays.
        if not os.path.lexists(aside) or (aside.is_file() and not path.is_dir()):
            break
    with storing(path, "rename"):
        os.replace(path, aside)
    return aside


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of writes that a kill cut short; nobody else may be writing."""
    for file in folder.glob(".*.tmp"):
        with suppress(OSError):  # they are in nobody's way
            file.unlink()


def user_cache() -> Path:
    """Our folder for what can be made again, in the user's cache folder; it may not be there."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "gnp")


def write_text(path: str | Path, text: str, make_folder: bool = True) -> None:
    write_bytes(path, text.encode(), make_folder)


def write_bytes(path: str | Path, content: bytes, make_folder: bool = True) -> None:
    write_atomically(path, lambda file: file.write(content), make_folder)


def write_json(path: str | Path, value: Any, make_folder: bool = True) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", make_folder)
