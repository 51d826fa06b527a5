"""The lock on a run's folder: one process at a time works on a run.

It is ``flock``'s: a child inherits it with the descriptor, so the table runner takes it for the
child, and it ends with the process, however that ends. Lock libraries hand no descriptor on. Where
that cannot be trusted, ``gnp.tracking.lease`` stands beside it.
"""

import errno
import logging
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import gnp.tracking.lease as leases
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


class RunLock:
    """A run's folder, locked until ``release`` or the end of the process.

    Attributes:
        descriptor: of the lock's file; a child that inherits it has the lock, too.
        variables: what else the child needs in its environment.
    """

    def __init__(self, descriptor: int, lease: leases.Lease | None):
        self.descriptor, self._lease = descriptor, lease
        self.variables = {} if lease is None else lease.variables

    def held(self) -> bool:
        """False if another process took it over, because this one gave no sign of life.

        Raises:
            OSError: the storage does not say.
        """
        return self._lease is None or self._lease.held()

    def hand_over(self) -> None:
        """A child has it now. What is left to do here is to release it when the child has ended."""
        os.close(self.descriptor)
        self.descriptor = -1

    def release(self) -> None:
        """Give it back. The holder's name goes, too: a record names no host."""
        if self.descriptor >= 0:
            with suppress(OSError):
                if self.held():  # else it is another's name
                    os.ftruncate(self.descriptor, 0)
            os.close(self.descriptor)
            self.descriptor = -1
        if self._lease is not None:
            self._lease.release()


def lock_run(folder: Path, kind: str = "auto") -> RunLock | None:
    """Lock the folder, or None if another process has it.

    Args:
        kind: "flock"; "lease", with a lease beside what flock there is; "auto": a lease only where
            flock does not work, with one warning. A folder that ever had a lease always gets one,
            so that processes of different kinds keep out of each other's way.

    Raises:
        NoLocks: the system has no flock (Windows), or kind is "flock" and it does not work here.
        StorageError: a lock's file cannot be opened.
    """
    if fcntl is None:
        raise NoLocks(
            "this system has no flock, without which two jobs could train one run at once: train "
            "on Linux or macOS, or in WSL on Windows (gnp.optim itself works on every system)"
        )
    path = Path(folder, LOCK_NAME)
    with storing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    lease = None
    try:
        works = _flock(folder, descriptor, kind)
        if works is not None and (kind == "lease" or not works or leases.in_use(folder)):
            lease = leases.take(folder)
            works = None if lease is None else works
    except BaseException:
        os.close(descriptor)
        raise
    if works is None:
        os.close(descriptor)
        return None
    _sign(descriptor)
    return RunLock(descriptor, lease)


def _flock(folder: Path, descriptor: int, kind: str) -> bool | None:
    """Whether the file system has such locks; None if another process has this one."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            return None
        if kind == "flock":
            raise NoLocks(
                f"file locks do not work in {folder} ({error.strerror or error}): take leases "
                f"(locks=lease for tables and studies, runtime.locks=lease for a run)"
            ) from error
        if kind == "auto":
            _warn(folder, error)
        return False
    return True


def lock_patiently(folder: Path, kind: str = "auto") -> RunLock | None:
    """``lock_run``; but where a lease is held by a process that may be dead, see whether it is."""
    lock = lock_run(folder, kind)
    if lock is None and leases.in_doubt(folder):
        log.info(
            "%s: %s had the lease on it; looking for at most %.0f s whether it still lives",
            folder,
            holder(folder),
            leases.HEARTBEAT * (leases.LOOKS + 1),
        )
    while lock is None and leases.in_doubt(folder):
        time.sleep(leases.HEARTBEAT / 4)
        lock = lock_run(folder, kind)
    return lock


def inherited_lock(folder: Path) -> RunLock | None:
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
    descriptor, has_lease = int(value), leases.LEASE_VARIABLE in os.environ
    os.set_inheritable(descriptor, False)
    lease = leases.inherited(folder)
    if has_lease and lease is None:  # it was taken over, between there and here
        os.close(descriptor)
        return None
    _sign(descriptor)
    return RunLock(descriptor, lease)


def holder(folder: Path) -> str:
    """Who holds the lock on ``folder``, in words, as far as that is to be found out."""
    here, signed = socket.gethostname(), ()
    with suppress(OSError):
        if (by := leases.signature(folder)) is not None:
            return f"process {by[0]} on {by[1]}"
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
            "file locks do not work in %s (%s): leases are taken in their place, files that their "
            "holder renews every %.0f s",
            folder,
            error.strerror or error,
            leases.HEARTBEAT,
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
