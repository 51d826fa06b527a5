"""The lock on a run's folder: one process at a time works on a run.

It is ``flock``'s: a child inherits it with the descriptor, so the table runner takes it for the
child, and it ends with the process, however that ends. Lock libraries hand no descriptor on.
"""

import errno
import logging
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from gnp.errors import UserError
from gnp.files import storing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger(__name__)

LOCK_NAME = ".lock"
LOCK_FD_VARIABLE = "GNP_LOCK_FD"
TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}  # EACCES: some SMB clients

_warned = False


class NoLocks(UserError):
    """This system has no locks."""


def lock_run(folder: Path) -> int | None:
    """A descriptor that locks the folder while it is open here or in a child, or None if taken.

    On a file system without locks the descriptor locks nothing; there is one warning.

    Raises:
        NoLocks: the system, not the file system, has none (Windows).
        StorageError: the lock's file cannot be opened.
    """
    if fcntl is None:
        raise NoLocks(
            "this system has no flock, without which two jobs could train one run at once: train "
            "on Linux or macOS, or in WSL on Windows (gnp.optim itself works on every system)"
        )
    path = Path(folder, LOCK_NAME)
    with storing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            os.close(descriptor)
            return None
        _warn(folder, error)
    _sign(descriptor)
    return descriptor


def inherited_lock(folder: Path) -> int | None:
    """The lock on ``folder`` that a table runner took for us, if it started this process."""
    value = os.environ.pop(LOCK_FD_VARIABLE, None)
    if value is None:
        return None
    try:
        ours, wanted = os.fstat(int(value)), os.stat(Path(folder, LOCK_NAME))
    except (OSError, ValueError, OverflowError):
        return None
    if not os.path.samestat(ours, wanted):
        return None
    os.set_inheritable(int(value), False)
    _sign(int(value))
    return int(value)


def unlock(descriptor: int) -> None:
    """Give the lock back. The holder's name goes, too: a record names no host."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)


def holder(folder: Path) -> str:
    """Who holds the lock on ``folder``, in words, as far as that is to be found out."""
    here, signed = socket.gethostname(), ()
    try:
        path = Path(folder, LOCK_NAME)
        status = path.stat()
        signed = path.read_text().split()
    except (OSError, UnicodeDecodeError):
        return "another process"
    pid, host = signed if len(signed) == 2 else ("", here)
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(status.st_mtime))
    if host == here and not _alive(pid):  # killed, and somebody who does not sign came after it
        pid = ""
    if (not pid or host != here) and (locker := _locker(status)) is not None:
        return f"process {locker} on {here}"
    return f"process {pid} on {host}, since {since}" if pid else "another process"


def _sign(descriptor: int) -> None:
    with suppress(OSError):  # a full disk
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)


def _warn(folder: Path, error: OSError) -> None:
    global _warned
    if not _warned:
        log.warning(
            "file locks do not work in %s (%s): going on without. Start only one job at a time on "
            "this root: nothing keeps two from training the same run",
            folder,
            error.strerror or error,
        )
    _warned = True


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:  # it is another user's
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _locker(status: os.stat_result) -> int | None:
    """The process of this machine that took the lock on that file, where the kernel says it."""
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()  # 1: FLOCK ADVISORY WRITE <pid> <device>:<inode> 0 EOF
            if fields[1] == "FLOCK" and fields[5] == f"{device}:{status.st_ino}":
                return int(fields[4])
    return None
