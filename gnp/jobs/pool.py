"""Trains the missing runs of a table or a study, each in a child process of its own.

A child that dies, however hard, costs its own run and no other; what it printed is in its
``log.txt``. A run's lock is taken here and inherited by the child, so several pools may share
one root: each run is trained by one of them, and the others see it as busy.
"""

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

from gnp.cli import USAGE_ERROR
from gnp.files import storing
from gnp.jobs.child import SERVER_GONE, Child, start_server
from gnp.jobs.finished import DivergedRun, FinishedRun, OtherRun, find_record
from gnp.jobs.job import Job
from gnp.jobs.slots import Slot
from gnp.jobs.wanted import Wanted
from gnp.settings import unrecorded
from gnp.tracking.lease import in_doubt
from gnp.tracking.lock import LOCK_FD_VARIABLE, RunLock, holder, lock_run
from gnp.tracking.reading import DamagedRecord

LOG = "log.txt"
POLL_SECONDS = 0.2
GRACE_SECONDS = 5
LEAVE_SECONDS = 20


@dataclass(frozen=True)
class Failure:
    """A run that was not finished, and why. ``diverged``: its record says so."""

    run: Job
    reason: str
    diverged: bool = False

    def __str__(self) -> str:
        return f"{self.run.path}: {self.reason}"


@dataclass
class Active:
    """A child at work."""

    run: Job
    slot: Slot
    process: Child
    started: float
    script: str  # the name of its program
    log: Path
    log_before: int  # bytes that earlier starts left in it
    lock: RunLock


class Pool:
    """Feeds runs to slots.

    Args:
        runs: what to train, in this order.
        root: the results root.
        train: the training script.
        slots: where; at least one.
        wanted: the config of each run: a record that another process makes meanwhile is compared
            with it; None compares nothing.
        overrides: further settings for every run.
        preload: modules that the children find imported.
        retries: how often a run that failed is started again.
        fail_fast: stop after the first that failed.
        wait: for runs that other processes have; else they are left in ``waiting`` when for
            ``LEAVE_SECONDS`` nothing else was left, and those processes live.
        locks: as ``lock_run``'s ``kind``.
        watch: called a few times a second with the pool, to show it.

    Attributes for ``watch``: ``total``, ``finished`` (list of (run, summary)), ``failed``,
    ``retried`` (failures after which the run was started again), ``active``, ``waiting`` (not
    started, or locked by another process).
    """

    def __init__(
        self,
        runs: Sequence[Job],
        root: str | Path,
        train: Path,
        slots: Sequence[Slot],
        wanted: Wanted | None = None,
        overrides: Sequence[str] = (),
        preload: Sequence[str] = (),
        watch: Callable[["Pool"], None] = lambda pool: None,
        retries: int = 0,
        fail_fast: bool = False,
        wait: bool = True,
        locks: str = "auto",
    ):
        self.waiting: deque[Job] = deque(runs)
        self.total = len(runs)
        self.finished: list[tuple[Job, dict]] = []
        self.failed: list[Failure] = []
        self.retried: list[Failure] = []
        self.active: list[Active] = []
        self._root, self._train, self._overrides = Path(root), train, list(overrides)
        self._free, self._watch, self._wanted = list(slots), watch, wanted
        self._preload = preload
        self._retries, self._fail_fast = retries, fail_fast
        self._wait, self._locks = wait, locks
        self._tries: Counter[Job] = Counter()
        self._last_at_work = time.monotonic()

    def run(self) -> None:
        """Returns when every run is finished, here or by another process, or has failed; earlier
        with ``fail_fast`` or without ``wait``.

        An interruption ends the children and goes on up; what they did up to their last
        checkpoint stays.
        """
        # OpenMP reads its number of threads when torch is imported, and the slots have one number.
        threads = {k: v for k, v in self._free[0].environment.items() if k == "OMP_NUM_THREADS"}
        start_server(self._preload, threads)
        try:
            while self.waiting or self.active:
                self._start()
                self._watch(self)
                wait([child.process.ended for child in self.active], POLL_SECONDS)
                self._reap()
                if (self.failed and self._fail_fast) or self._leaves():
                    break
            self._watch(self)
        finally:
            self._stop()

    @property
    def left(self) -> list[Job]:
        """The runs that were neither finished nor failed, when ``run`` ended."""
        return [*self.waiting, *(child.run for child in self.active)]

    def waited_for(self) -> list[str]:
        """Each waiting run and who holds its lock, in words."""
        return [f"{run.path} (held by {holder(run.folder(self._root))})" for run in self.waiting]

    def _start(self) -> None:
        """Fill the free slots; a run that another process holds goes to the end of the queue."""
        for _ in range(len(self.waiting)):
            if not self._free:
                return
            run = self.waiting.popleft()
            try:
                self._start_one(run)
            except OSError as error:  # a folder or a file of the wrong kind, no room, no right
                self._fail(run, str(error))

    def _start_one(self, run: Job) -> None:
        folder = run.folder(self._root)
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = lock_run(folder, self._locks)
        if lock is None:
            self.waiting.append(run)
            return
        slot = self._free[0]
        try:
            if self._take_record(run):  # another process has made it, meanwhile
                lock.release()
                return
            with_lock = replace(slot, environment={**slot.environment, **lock.variables})
            with storing(folder / LOG):
                process, log_before = self._spawn(run, with_lock, folder, lock.descriptor)
        except BaseException:
            lock.release()
            raise
        lock.hand_over()
        self._free.remove(slot)
        now, log, script = time.monotonic(), folder / LOG, self._train.name
        self.active.append(Active(run, slot, process, now, script, log, log_before, lock))

    def _take_record(self, run: Job) -> bool:
        """Whether the run has a record with an outcome; then it is listed as finished, or as failed
        if it diverged, or if another job with other settings made it. A damaged one is none: a
        child mends it."""
        try:
            found = find_record(run, self._root, self._wanted, unrecorded())
        except DamagedRecord:
            return False
        if isinstance(found, FinishedRun):
            self.finished.append((run, found.summary))
        elif isinstance(found, DivergedRun):
            self.failed.append(Failure(run, str(found.record), diverged=True))
        elif isinstance(found, OtherRun):
            self.failed.append(Failure(run, str(found)))
        return found is not None

    def _spawn(self, run: Job, slot: Slot, folder: Path, lock: int) -> tuple[Child, int]:
        """The child, and how many bytes its log had before."""
        # The user's last: they win.
        settings = run.overrides(self._root, [*slot.settings, *self._overrides])
        environment = {**os.environ, **slot.environment, "PYTHONUNBUFFERED": "1"}
        with open(folder / LOG, "ab") as log:
            before, output = log.tell(), log.fileno()
            child = Child(self._train, settings, environment, output, lock, LOCK_FD_VARIABLE)
        return child, before

    def _reap(self) -> None:
        for child in list(self.active):
            status = child.process.poll()
            if status is None:
                continue
            self.active.remove(child)
            self._free.append(child.slot)
            child.lock.release()
            try:
                taken = self._take_record(child.run)
            except OSError as error:  # a storage that fails now and then
                self._fail(child.run, str(error))
                continue
            # The summary is written last: what came after it cannot matter.
            if not taken:
                # What the user has to mend is refused again.
                self._fail(child.run, how_it_ended(child, status), again=status != USAGE_ERROR)

    def _fail(self, run: Job, reason: str, again: bool = True) -> None:
        """At the end of the queue it may find what it lacked: room, memory."""
        if not again or self._tries[run] >= self._retries:
            self.failed.append(Failure(run, reason))
            return
        self._tries[run] += 1
        self.retried.append(Failure(run, reason))
        self.waiting.append(run)

    def _leaves(self) -> bool:
        """Whether only what other, living, processes have is left, and that is not waited for."""
        now = time.monotonic()
        if self.active:
            self._last_at_work = now
            return False
        if self._wait or now - self._last_at_work < LEAVE_SECONDS:
            return False
        return not any(in_doubt(run.folder(self._root)) for run in self.waiting)

    def _stop(self) -> None:
        for child in self.active:
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for child in self.active:
            if child.process.wait(max(0.1, deadline - time.monotonic())) is None:
                child.process.send_signal(signal.SIGKILL)
                child.process.wait(GRACE_SECONDS)
            child.lock.release()


def how_it_ended(child: Active, status: int) -> str:
    """The status of a child that left no finished record, and the reason that this start printed:
    its message, or its last line."""
    if status < 0:
        how = f"signal {-status} ({signal.strsignal(-status)})"
        if -status == signal.SIGKILL:
            how += ", as the system does when memory runs out"
    elif status == SERVER_GONE:
        how = "ended with the pool's server, as its children do"
    else:
        how = f"exit status {status}"
    try:
        with open(child.log, "rb") as log:
            log.seek(child.log_before)
            printed = log.read().decode(errors="replace")
    except OSError as error:
        return f"{how}; what it printed is gone ({error})"
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    # A script's own message begins with its name, and may have several lines.
    own = [number for number, line in enumerate(lines) if line.startswith(f"{child.script}: ")]
    said = " ".join(lines[own[-1] if own else -1 :]).removeprefix(f"{child.script}: ")
    return f"{how}; {said or 'it printed nothing'} (all of it in {child.log})"
