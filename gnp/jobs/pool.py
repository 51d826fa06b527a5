"""Trains the missing runs of a table or a study, each in a child process of its own.

A child that dies, however hard, costs its own run and no other; what it printed is in its
``log.txt``. A run's lock is taken here and inherited by the child, so several pools may share
one root: each run is trained by one of them, and the others see it as busy.
"""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnp.cli import PARENT_VARIABLE
from gnp.jobs.job import Job
from gnp.jobs.slots import Slot
from gnp.tracking.record import LOCK_FD_VARIABLE, lock_run, read_summary

POLL_SECONDS = 0.2
GRACE_SECONDS = 5


@dataclass(frozen=True)
class Failure:
    run: Job
    status: int
    log: Path

    def __str__(self) -> str:
        how = f"signal {-self.status}" if self.status < 0 else f"exit status {self.status}"
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else "it printed nothing"
        return f"{self.run.path}: {how}; {last} (all of it in {self.log})"


@dataclass
class Active:
    """A child at work."""

    run: Job
    slot: Slot
    process: subprocess.Popen
    folder: Path
    started: float


class Pool:
    """Feeds runs to slots.

    Args:
        runs: what to train, in this order.
        root: the results root.
        train: the training script.
        slots: where; at least one.
        overrides: further settings for every run.
        watch: called a few times a second with the pool, to show it.

    Attributes for ``watch``: ``total``, ``finished`` (list of (run, summary)), ``failed``,
    ``active``, ``waiting`` (not started, or locked by another process).
    """

    def __init__(
        self,
        runs: Sequence[Job],
        root: str | Path,
        train: Path,
        slots: Sequence[Slot],
        overrides: Sequence[str] = (),
        watch: Callable[["Pool"], None] = lambda pool: None,
    ):
        self.waiting: deque[Job] = deque(runs)
        self.total = len(runs)
        self.finished: list[tuple[Job, dict]] = []
        self.failed: list[Failure] = []
        self.active: list[Active] = []
        self._root, self._train, self._overrides = Path(root), train, list(overrides)
        self._free, self._watch = list(slots), watch

    def run(self) -> None:
        """Returns when every run is finished, here or by another process, or has failed.

        An interruption ends the children and goes on up; what they did up to their last
        checkpoint stays.
        """
        try:
            while self.waiting or self.active:
                self._start()
                self._reap()
                self._watch(self)
                time.sleep(POLL_SECONDS)
            self._watch(self)
        finally:
            self._stop()

    def _start(self) -> None:
        """Fill the free slots; a run that another process holds goes to the end of the queue."""
        for _ in range(len(self.waiting)):
            if not self._free:
                return
            run = self.waiting.popleft()
            folder = run.folder(self._root)
            folder.mkdir(parents=True, exist_ok=True)
            lock = lock_run(folder)
            if lock is None:
                self.waiting.append(run)
                continue
            try:
                if (summary := read_summary(folder)) is not None:
                    self.finished.append((run, summary))  # by another process, meanwhile
                    continue
                slot = self._free.pop(0)
                process = self._spawn(run, slot, folder, lock)
                self.active.append(Active(run, slot, process, folder, time.monotonic()))
            finally:
                os.close(lock)  # the child has its own copy, and with it the lock

    def _spawn(self, run: Job, slot: Slot, folder: Path, lock: int) -> subprocess.Popen:
        command = [
            sys.executable,
            str(self._train),
            # The user's last: they win.
            *run.overrides(self._root, [*slot.settings, *self._overrides]),
        ]
        environment = {
            **os.environ,
            **slot.environment,
            LOCK_FD_VARIABLE: str(lock),
            PARENT_VARIABLE: str(os.getpid()),
            "PYTHONUNBUFFERED": "1",
        }
        with open(folder / "log.txt", "ab") as log:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                # Ctrl-C on the terminal is for this process, which then stops its children.
                start_new_session=True,
            )

    def _reap(self) -> None:
        for child in list(self.active):
            status = child.process.poll()
            if status is None:
                continue
            self.active.remove(child)
            self._free.append(child.slot)
            summary = read_summary(child.folder)
            if summary is not None:  # written last: what came after it cannot matter
                self.finished.append((child.run, summary))
            else:
                self.failed.append(Failure(child.run, status, child.folder / "log.txt"))

    def _stop(self) -> None:
        for child in self.active:
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for child in self.active:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
