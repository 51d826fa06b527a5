"""Records read by other processes while this one does something else: afterwards ``read_finished``
finds in memory what it would have read.

Nothing depends on it. What a child did not deliver (it was killed, the record is damaged or was
written just now, the machine has one core or no room) is read by who asks for it, with the errors
that it has.
"""

import gc
import os
import pickle
import select
import signal
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from gnp.interruptions import SIGNALS
from gnp.tracking.reading import FinishedRecord, read_before, read_finished

WORTH_IT = 100  # records; fewer are read as fast without a child
PART = 20  # records that are read, and sent, at once
# For a record this process needs a fifth of the time that a child does: more would wait for it.
MOST_CHILDREN = 4

NUMBER = struct.Struct("=I")  # of a part, in the queue
HEAD = struct.Struct("=IQ")  # of a message: the part's number, and how many bytes follow


def read_ahead(
    folders: Sequence[Path],
    meanwhile: Callable[[], object] = lambda: None,
    work_out: Callable[[FinishedRecord], object] = lambda record: None,
) -> None:
    """Let child processes read the records of finished runs, and read with them after a call of
    ``meanwhile``, which is for what will be done anyway: without children nothing is done here.

    Args:
        work_out: called by the children with each record, to keep in its ``worked_out`` what will
            be asked for.
    """
    left = [folder for folder in folders if folder not in read_before]
    count = min(_cores() - 1, MOST_CHILDREN) if len(left) >= WORTH_IT and _may_fork() else 0
    if count < 1:
        return
    children = _Children(left, work_out)
    try:
        children.fork(count)
        if children:
            meanwhile()
            children.read_the_rest()
    finally:
        children.end()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _may_fork() -> bool:
    """Another thread's locks would remain locked in the child. numpy's BLAS has threads, but they
    do nothing here, and end before a fork; torch's do not."""
    alone = threading.active_count() == 1 and "torch" not in sys.modules
    return alone and sys.platform.startswith("linux")


class _Children:
    """Processes that take parts of the records from a queue, and this one, which takes some too.

    The queue is a pipe with the numbers of all parts, from which whoever is free reads one; each
    child sends what it has read through a pipe of its own. A child whose pipe nobody reads ends.
    """

    def __init__(self, folders: Sequence[Path], work_out: Callable[[FinishedRecord], object]):
        self._work_out = work_out
        self._parts = [folders[start : start + PART] for start in range(0, len(folders), PART)]
        self._queue: int | None = None
        self._pids: list[int] = []
        self._received: dict[int, bytearray] = {}  # by the pipe
        self._poll = select.poll()

    def __len__(self) -> int:
        return len(self._pids)

    def fork(self, count: int) -> None:
        """As many of them as the machine lets start."""
        with suppress(OSError):
            self._queue, write = os.pipe()
            try:
                os.set_blocking(write, False)  # what has no room in it is read by who asks for it
                os.write(write, b"".join(map(NUMBER.pack, range(len(self._parts)))))
            finally:
                os.close(write)
            for _ in range(count):
                self._fork()

    def read_the_rest(self) -> None:
        """Read what no child has begun, and take over what they have read."""
        while (number := self._take()) is not None:
            for folder in self._parts[number]:
                with suppress(Exception):  # who asks for it gets the error
                    read_finished(folder)
            self._receive(0)
        while self._received:
            self._receive(None)

    def end(self) -> None:
        for pipe in [*self._received, *([] if self._queue is None else [self._queue])]:
            os.close(pipe)
        for pid in self._pids:
            with suppress(ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def _fork(self) -> None:
        pipe, write = os.pipe()
        self._received[pipe] = bytearray()
        self._poll.register(pipe, select.POLLIN)
        # A signal's exception must neither lose the child nor rise through this stack in it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            if (pid := os.fork()) == 0:
                self._be_a_child(write, mask)
            self._pids.append(pid)
        finally:
            os.close(write)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _be_a_child(self, write: int, mask: set[signal.Signals]) -> NoReturn:
        try:
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for pipe in self._received:
                os.close(pipe)
            gc.disable()  # a collection would copy the memory that it shares
            self._send_parts(write)
        finally:
            os._exit(0)  # whatever it was: nobody waits for more than what was sent

    def _send_parts(self, write: int) -> None:
        """Read on while the pipe is full: who empties it is busy with something else."""
        unsent = bytearray()
        os.set_blocking(write, False)
        while (number := self._take()) is not None:
            entries = []
            for folder in self._parts[number]:
                with suppress(Exception):
                    if (record := read_finished(folder)) is not None:
                        self._work_out(record)
                entries.append(read_before.pop(folder, None))
            content = pickle.dumps(entries, pickle.HIGHEST_PROTOCOL)
            unsent += HEAD.pack(number, len(content)) + content
            with suppress(BlockingIOError):
                _write(write, unsent)
        os.set_blocking(write, True)
        _write(write, unsent)

    def _take(self) -> int | None:
        assert self._queue is not None
        taken = os.read(self._queue, NUMBER.size)
        return NUMBER.unpack(taken)[0] if len(taken) == NUMBER.size else None

    def _receive(self, milliseconds: int | None) -> None:
        for pipe, _ in self._poll.poll(milliseconds):
            if data := os.read(pipe, 1 << 20):
                self._received[pipe] += data
                self._take_over(self._received[pipe])
            else:
                self._poll.unregister(pipe)
                del self._received[pipe]
                os.close(pipe)

    def _take_over(self, received: bytearray) -> None:
        while len(received) >= HEAD.size:
            number, length = HEAD.unpack_from(received)
            if len(received) < HEAD.size + length:
                break
            entries = pickle.loads(received[HEAD.size : HEAD.size + length])
            del received[: HEAD.size + length]
            for folder, entry in zip(self._parts[number], entries, strict=True):
                if entry is not None:
                    read_before[folder] = entry


def _write(pipe: int, unsent: bytearray) -> None:
    while unsent:
        del unsent[: os.write(pipe, unsent)]
