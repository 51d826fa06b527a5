"""Files of a record that cannot be read: damage is told from trouble of the machine."""

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnp.errors import UserError
from gnp.tracking.checksums import file_checksum

# What says that a file is not what was written, and not that the machine has trouble.
DAMAGE = {errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP}


class DamagedRecord(UserError, ValueError):
    """A file of a record cannot be what was written there; says which and why."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path} is damaged: {reason}")
        self.path, self.reason = path, reason


def bytes_of(path: Path) -> bytes | None:
    """A file's content, or None if there is no such file."""
    try:
        with _reading(path):
            return path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise DamagedRecord(path, "it is a link to nothing") from None
        return None


def text_of(path: Path) -> str | None:
    """``bytes_of``, decoded."""
    content = bytes_of(path)
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError as error:
        raise DamagedRecord(path, f"no text ({error.reason} at byte {error.start})") from error


def checksum_at(path: Path) -> str:
    """``file_checksum`` of a file that is there."""
    with _reading(path):
        return file_checksum(path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """A folder, a pipe or a link to itself of that name is damage, and so is a file that may not be
    read. What else the machine refuses (too many open files, an input error of the disk) remains an
    OSError."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise DamagedRecord(path, "it is no file")  # of a pipe nothing would ever come
        yield
    except OSError as error:
        if error.errno not in DAMAGE:
            raise
        raise DamagedRecord(path, f"it cannot be read ({error.strerror})") from error
