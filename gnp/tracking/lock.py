"""The lock on a run's folder: one process at a time works on a run."""

import fcntl
import os
from pathlib import Path

LOCK_NAME = ".lock"
LOCK_FD_VARIABLE = "GNP_LOCK_FD"


def lock_run(folder: Path) -> int | None:
    """A descriptor that locks the folder while it is open here or in a child, or None if taken."""
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def inherited_lock(folder: Path) -> int | None:
    """The lock on ``folder`` that a table runner took for us, if it started this process."""
    value = os.environ.pop(LOCK_FD_VARIABLE, None)
    if value is None:
        return None
    try:
        ours, wanted = os.fstat(int(value)), os.stat(folder / LOCK_NAME)
    except OSError:
        return None
    if not os.path.samestat(ours, wanted):
        return None
    os.set_inheritable(int(value), False)
    return int(value)
