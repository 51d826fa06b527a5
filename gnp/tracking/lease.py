"""A lease on a run's folder, for file systems whose locks cannot be trusted: a file that its holder
changes again and again while it lives.

    .lease.<n>    the n-th lease: "<nonce> <beat> <process> <host>", or "free"

The file with the highest number is the lease. One that is free, or whose holder is dead, is taken
over by making the next number with ``O_EXCL``, which one process alone can do. Whoever finds that
number has lost its own lease, and writes nothing more.

Dead is a holder whose file did not change at ``LOOKS`` looks, at least ``HEARTBEAT`` seconds apart
on the looker's own clock. So clocks that differ cannot make a live one look dead, nor can an outage
of the storage, during which nobody looks.
"""

import errno
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gnp.files import bring_to_disk, storing

LEASE_NAME = ".lease."  # and its number
LEASE_VARIABLE = "GNP_LEASE"
FREE = "free"
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
HEARTBEAT = 5.0  # seconds
LOOKS = 9  # a holder has missed as many beats when it is given up


class Lease:
    """One that this process holds, or its parent: a thread keeps it alive until ``release``."""

    def __init__(self, folder: Path, number: int, nonce: str):
        self._path, self._next = _path(folder, number), _path(folder, number + 1)
        self._nonce = nonce
        self._one_at_a_time, self._ended = threading.Lock(), threading.Event()
        # For the child that is to hold it, too.
        self.variables = {LEASE_VARIABLE: f"{number}:{nonce}"}
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def held(self) -> bool:
        """Whether nobody has taken it over. Opening the file asks the server, on NFS, too.

        Raises:
            OSError: the storage does not say.
        """
        try:
            return _read(self._path).startswith(f"{self._nonce} ") and not self._next.exists()
        except OSError as error:
            if error.errno not in GONE:
                raise
            return False

    def release(self) -> None:
        self._ended.set()
        with self._one_at_a_time, suppress(OSError):
            if self.held():
                self._path.write_text(f"{FREE}\n")  # a record names no host

    def _keep_alive(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            with self._one_at_a_time, suppress(OSError):  # the next beat may come through
                if not self._ended.is_set() and self.held():
                    self._beat()

    def _beat(self) -> None:
        """Changes nothing but the beat, so that who reads meanwhile finds the nonce."""
        descriptor = os.open(self._path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, _new_beat().encode(), len(self._nonce) + 1)
        finally:
            os.close(descriptor)


def take(folder: Path) -> Lease | None:
    """The lease on ``folder``, or None if another process has it or may have it.

    Raises:
        StorageError: its file cannot be written.
    """
    number, text = _current(folder)
    if text is None or not (text.startswith(FREE) or _is_dead(folder, number, text)):
        return None
    nonce, path = secrets.token_hex(8), _path(folder, number + 1)
    line = f"{nonce} {_new_beat()} {os.getpid()} {socket.gethostname()}\n"
    with storing(path):
        try:
            file = open(path, "xb", buffering=0)  # noqa: SIM115
        except FileExistsError:
            return None
        with file:
            file.write(line.encode())
            bring_to_disk(file)
    if _numbers(folder)[-1:] != [number + 1]:  # what was read here was long out of date
        path.unlink(missing_ok=True)
        return None
    for older in _numbers(folder)[:-1]:
        _path(folder, older).unlink(missing_ok=True)
    return Lease(folder, number + 1, nonce)


def inherited(folder: Path) -> Lease | None:
    """The lease on ``folder`` that the parent took for this process, if it still has it."""
    number, _, nonce = os.environ.pop(LEASE_VARIABLE, "").partition(":")
    if not number.isdecimal() or not _current(folder)[1]:
        return None
    lease = Lease(folder, int(number), nonce)
    if not lease.held():
        lease.release()
        return None
    return lease


def in_use(folder: Path) -> bool:
    """Whether leases are, or were, taken on this folder: then everybody has to."""
    return bool(_numbers(folder))


def in_doubt(folder: Path) -> bool:
    """Whether another process has the lease, of which this one has seen no sign of life yet."""
    seen = _seen.get(folder)
    return seen is not None and not seen.alive and _current(folder) == (seen.number, seen.text)


def signature(folder: Path) -> tuple[str, str] | None:
    """Process and host of the lease's holder; None if there is none, or none is known."""
    fields = (_current(folder)[1] or "").split()
    return (fields[2], fields[3]) if len(fields) == 4 else None


@dataclass
class _Seen:
    """What this process saw of a folder's lease."""

    number: int
    text: str
    last: float  # look that counted, on the monotonic clock
    looks: int = 0  # that found the same text
    alive: bool = False  # has it ever changed?


_seen: dict[Path, _Seen] = {}


def _is_dead(folder: Path, number: int, text: str) -> bool:
    now, seen = time.monotonic(), _seen.get(folder)
    if seen is None or seen.number != number:
        _seen[folder] = _Seen(number, text, now)
        return False
    if seen.text != text:
        _seen[folder] = _Seen(number, text, now, alive=True)
        return False
    if now - seen.last >= HEARTBEAT:
        seen.last, seen.looks = now, seen.looks + 1
    return seen.looks >= LOOKS


def _current(folder: Path) -> tuple[int, str | None]:
    """Number and text of the lease: (-1, "free") if there never was one. The text is None if it was
    taken over while it was read, and "" while it is written."""
    numbers = _numbers(folder)
    if not numbers:
        return -1, FREE
    try:
        return numbers[-1], _read(_path(folder, numbers[-1]))
    except FileNotFoundError:
        return numbers[-1], None


def _numbers(folder: Path) -> list[int]:
    endings = [
        name[len(LEASE_NAME) :] for name in os.listdir(folder) if name.startswith(LEASE_NAME)
    ]
    return sorted(int(ending) for ending in endings if ending.isdecimal())


def _path(folder: Path, number: int) -> Path:
    return folder / f"{LEASE_NAME}{number}"


def _read(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


def _new_beat() -> str:
    """Random, as parent and child may both keep one lease alive: each beat is a change."""
    return secrets.token_hex(4)
