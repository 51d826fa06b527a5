"""Break a small table's jobs on purpose, and see whether anything is lost or wrong.

    python scripts/chaos.py --faults 200 --seed 0 --write results/reliability/chaos.txt
    python scripts/chaos.py --faults 20 --kinds "kill at a write" "damaged file"

The table (6 runs of 4 epochs, some seconds) is trained once in peace, then again and again under
faults, each at a random place. After every fault the finished records that are believed are
compared with the peaceful ones; at the end of a round (some faults on one root) the jobs are
started in peace, and every number, every weight and the written tables are. Needs Linux; the kinds
that need a disk of their own are left out where none can be mounted.

Exit status 1 if a cell was lost or wrong, or if anything ended otherwise than it should.
"""

import argparse
import contextlib
import errno
import io
import json
import os
import random
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
import yaml
from hydra.core.global_hydra import GlobalHydra

import gnp.training.run  # noqa: F401  (the children that are forked from here have it)
from gnp.errors import UserError
from gnp.jobs import pool, read_runs
from gnp.jobs.job import Job
from gnp.tables import TableSpec
from gnp.tracking import files
from gnp.tracking.environment import describe_environment
from gnp.tracking.lock import lock_run, unlock
from gnp.training.checkpoint import PREVIOUS, Unusable, digest_of, read_checkpoint

SCRIPTS = Path(__file__).resolve().parent
TABLE = SCRIPTS.parent / "configs/table/quickstart.yaml"
SMALL = [
    "model.width=0.0625",
    "training.epochs=4",
    "training.batch_size=16",
    "dataset.synthetic_train_per_class=8",
    "dataset.synthetic_test_per_class=4",
    "runtime.device=cpu",
    "runtime.threads=1",
]
OWN_MOUNTS = "GNP_CHAOS_OWN_MOUNTS"  # set in the process that may mount a disk
DISK_BYTES = 64 << 20
PATIENCE_SECONDS = 120
ROUND = 12  # faults on one root

REFUSALS = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EMFILE", "ENOMEM", "ENOSYS", "EFBIG")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RECORD = ("config.yaml", "environment.json", "metrics.jsonl", "summary.json", "checkpoint.pt")


# ---------------------------------------------------------------------- processes


class Child:
    """A script in a process that is forked from this one, which has torch imported already.

    Args:
        script: its name.
        before: called in the child before the script.
        output: a descriptor that gets what it prints; by default a pipe, read by ``wait``.
        variables: its environment.
    """

    def __init__(
        self,
        script: str,
        settings: Sequence[str],
        before: Callable[[], None] = lambda: None,
        output: int | None = None,
        variables: dict[str, str] | None = None,
    ):
        self._read, write = (None, output) if output is not None else os.pipe()
        self._printed, self.returncode = b"", None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(script, settings, before, write, variables)
        if self._read is not None:
            os.close(write)
            os.set_blocking(self._read, False)

    def poll(self) -> int | None:
        if self.returncode is None:
            self._drain()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
                self._drain()
        return self.returncode

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("", seconds)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    @property
    def printed(self) -> str:
        return self._printed.decode(errors="replace")

    def _drain(self) -> None:
        if self._read is None:
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._read, 65536):
                self._printed += data


def _become(script, settings, before, output, variables) -> None:
    """Run the script as ``python scripts/<script>`` would, and end."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # Unbuffered: what a killed child printed is there.
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(n, "w", closefd=False), "utf-8", write_through=True)
            for n in (1, 2)
        )
        if variables is not None:
            os.environ.clear()
            os.environ.update(variables)
        sys.argv = [str(SCRIPTS / script), *settings]
        GlobalHydra.instance().clear()  # a table's
        before()
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def fork_the_runs(before: Callable[[], None] = lambda: None) -> None:
    """In a table's process: its children are forked, too, in place of seconds of imports each."""

    def start(command, env, stdout, **_):
        return Child("train.py", command[2:], before, stdout.fileno(), env)

    kept = {name: getattr(subprocess, name) for name in ("TimeoutExpired", "STDOUT", "DEVNULL")}
    pool.subprocess = SimpleNamespace(Popen=start, **kept)


# ---------------------------------------------------------------------- inside a child


class Writes:
    """Meets every call with which a record is changed, in the process where it is made.

    A point is a call and its file, such as "inside write checkpoint.pt"; ``at`` is called with its
    name each time it is reached.
    """

    CALLS = ("replace", "fsync", "open", "mkdir", "unlink", "ftruncate")

    def __init__(self, root: Path, at: Callable[[str], None]):
        self._root, self._at = str(root), at
        for name in self.CALLS:
            setattr(os, name, self._met(name, getattr(os, name)))
        meet = self._meet

        class Halves(files._Raw):
            """Met when half of each piece is written."""

            def write(self, data):
                data = memoryview(data).cast("B")
                half = super().write(data[: len(data) // 2])
                meet("inside write", self.name)
                return half + super().write(data[half:])

        files._Raw = Halves
        files.open = lambda path, mode, buffering: Halves(path, mode)

    def _met(self, name, real):
        def call(*arguments, **keywords):
            path = arguments[1] if name == "replace" else arguments[0]
            if isinstance(path, int):
                with contextlib.suppress(OSError):
                    path = os.readlink(f"/proc/self/fd/{path}")
            self._meet(f"before {name}", path)
            result = real(*arguments, **keywords)
            self._meet(f"after {name}", path)
            return result

        return call

    def _meet(self, call: str, path: object) -> None:
        path = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
        if path.startswith(self._root):
            name = re.sub(r"^\.(.*)-[0-9a-f]{8}\.tmp$", r"\1", Path(path).name)
            self._at(f"{call} {name}")


def at_occurrence(point: str, number: int, act: Callable[[], None]) -> Callable[[str], None]:
    """For ``Writes``: ``act`` at the number-th time that ``point`` is reached."""
    left = [number]

    def at(name: str) -> None:
        if name == point:
            left[0] -= 1
            if left[0] == 0:
                act()

    return at


def limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def memory_in_use() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


# ---------------------------------------------------------------------- the damage of a file


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content) or 1)])


def empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def remove(path: Path, chance: random.Random) -> None:
    path.unlink()


def zeros(path: Path, chance: random.Random) -> None:
    """As after a power cut on some file systems."""
    path.write_bytes(bytes(path.stat().st_size))


def folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


DAMAGES = (flip, cut, empty, remove, zeros, folder, dangling)


# ---------------------------------------------------------------------- chaos


class Chaos:
    """Rounds of faults on ``place / "root"``, compared with ``place / "peaceful"``.

    Attributes are what was seen up to now.
    """

    def __init__(self, place: Path, seed: int, disk: bool, say: Callable[[str], None]):
        self.chance, self.disk, self.say = random.Random(seed), disk, say
        self.peaceful, self.place, self.root = place / "peaceful", place, place / "disk/root"
        self.root.parent.mkdir()
        table = yaml.safe_load(TABLE.read_text())
        self.runs = list(TableSpec.from_config({**table, "seeds": [0], "overrides": SMALL}).runs())
        self.faults: Counter[str] = Counter()
        self.points: Counter[str] = Counter()  # that a process was killed at
        self.lost: list[str] = []
        self.wrong: list[str] = []
        self.odd: list[str] = []  # ended otherwise than it should
        self.deleted = 0  # records of which a message said that they had to be deleted
        self.rounds = 0
        self.children: list[Child] = []

    # ------------------------------------------------------------------ starts

    def train(self, run: Job, before=lambda: None, root: Path | None = None) -> Child:
        settings = [*run.settings(), f"root={root or self.root}", *SMALL]
        return self._started(Child("train.py", settings, before))

    def table(self, *overrides: str, root: Path | None = None, before=lambda: None) -> Child:
        settings = [
            "table=quickstart",
            "table.seeds=[0]",
            "device=cpu",
            "jobs=2",
            f"root={root or self.root}",
            f"overrides={[*SMALL, *overrides]}",
        ]

        def prepare():
            fork_the_runs()
            before()

        return self._started(Child("reproduce_table.py", settings, prepare))

    def _started(self, child: Child) -> Child:
        self.children = [*(c for c in self.children if c.returncode is None), child]
        return child

    def ended(self, child: Child, what: str, expected: Sequence[int]) -> bool:
        """Whether the fault hit. What ended otherwise than it should is noted."""
        try:
            status = child.wait()
        except subprocess.TimeoutExpired:
            child.kill()
            status = child.wait()
            self.odd.append(f"{what}: hung")
        printed = child.printed.replace(str(self.place), "…")
        if "Traceback" in printed:
            self.odd.append(f"{what}: traceback\n{printed}")
        elif status not in (0, *expected):
            self.odd.append(f"{what}: exit status {status}\n{printed}")
        elif status in (1, 2) and not re.search(r"^\w+\.py: ", printed, re.M):
            self.odd.append(f"{what}: exit status {status} without a reason\n{printed}")
        if status in (1, 2):
            reason = re.search(r"^\w+\.py: (.*)", printed, re.M)
            what += f" → {reason[1][:200] if reason else ''}"
        elif status:
            what += f" → {'signal' if status < 0 else 'exit status'} {abs(status)}"
        self.say(f"  {what}")
        return status != 0

    # ------------------------------------------------------------------ in peace

    def in_peace(self) -> None:
        """Train the table in peace, and find out what a run writes and how long it takes."""
        self.ended(self.table(root=self.peaceful), "in peace", ())
        if self.odd:
            raise UserError(f"the table cannot be trained in peace: {self.odd[0]}")
        self.truth = {run: self.numbers(run, self.peaceful) for run in self.runs}
        seen = self.place / "points"
        root = self.place / "once"

        def note():
            out = open(seen, "w", buffering=1)  # noqa: SIM115
            Writes(root, lambda name: out.write(f"{name}\n"))

        started = time.monotonic()
        self.train(self.runs[-1], note, root).wait()
        self.seconds = time.monotonic() - started
        self.writes = Counter(seen.read_text().splitlines())
        self.say(f"{len(self.runs)} runs in peace; a run meets {len(self.writes)} kinds of writes")

    def numbers(self, run: Job, root: Path):
        """All of a finished run's numbers but the clock's, or None."""
        records = read_runs([run], root)
        if not records.finished:
            return None
        record = records.finished[0]
        lines = [{k: v for k, v in m.items() if "seconds" not in k} for m in record.metrics]
        clock = ("seconds", "finished", "files", "sha256")
        return lines, {k: v for k, v in record.summary.items() if k not in clock}

    def finished(self, root: Path) -> list[Job]:
        return [f.run for f in read_runs(self.runs, root).finished]

    def weights(self, run: Job, root: Path) -> str | None:
        """The digest of all state after the last epoch; None if a fault took it."""
        try:
            state = read_checkpoint(run.folder(root) / "checkpoint.pt")
        except Unusable:
            return None
        clock = ("metrics", "run", "config", "data")
        return digest_of({k: v for k, v in state.items() if k not in clock})

    # ------------------------------------------------------------------ rounds

    def go(self, kinds: Sequence[str], faults: int) -> None:
        bag: list[str] = []
        often = [kind for kind in kinds for _ in range(KINDS[kind][1])]
        while sum(self.faults.values()) < faults:
            self.rounds += 1
            self.say(f"round {self.rounds}")
            end = min(faults, sum(self.faults.values()) + ROUND)
            # A finished run takes few faults: a round ends when all are.
            while sum(self.faults.values()) < end and len(self.finished(self.root)) < len(
                self.runs
            ):
                bag = bag or self.chance.sample(often, len(often))
                kind = bag.pop()
                done = len(self.odd)
                self.faults[kind] += KINDS[kind][0](self)
                self.compare_believed(kind)
                for odd in self.odd[done:]:
                    self.say(f"ODD: {odd}")
            self.end_round()

    def compare_believed(self, what: str) -> None:
        """No record that is believed to be finished has another number than the peaceful one."""
        for run in self.runs:
            numbers = self.numbers(run, self.root)
            if numbers is not None and numbers != self.truth[run]:
                self.wrong.append(f"after {what}: {run.path}")
                self.say(f"WRONG: {self.wrong[-1]}")
            log = run.folder(self.root) / pool.LOG
            if log.is_file() and "Traceback" in (text := log.read_text(errors="replace")):
                self.odd.append(f"after {what}: traceback in {run.path}/{pool.LOG}\n{text}")
                log.unlink()

    def end_round(self) -> None:
        for run in self.runs:
            self.in_order(run)
        self.ended(self.table(), "the table in peace", ())
        for run in self.runs:
            weights = self.weights(run, self.root)
            if self.numbers(run, self.root) is None:
                self.lost.append(f"round {self.rounds}: {run.path}")
                self.say(f"LOST: {self.lost[-1]}")
            elif weights not in (None, self.weights(run, self.peaceful)):
                self.wrong.append(f"round {self.rounds}: weights of {run.path}")
                self.say(f"WRONG: {self.wrong[-1]}")
        self.compare_believed("the round")
        for name in ("table.md", "table.csv", "table.tex"):
            texts = [
                Path(root, "tables/quickstart", name).read_text().replace(str(root), "")
                for root in (self.peaceful, self.root)
            ]
            if texts[0] != texts[1]:
                self.wrong.append(f"round {self.rounds}: {name}")
                self.say(f"WRONG: {self.wrong[-1]}")
        shutil.rmtree(self.root)

    def in_order(self, run: Job) -> None:
        """The run's own command finishes it; if it says to delete the folder, that is done."""
        child = self.train(run)
        if child.wait() == 2 and "delete" in child.printed:
            self.deleted += 1
            shutil.rmtree(run.folder(self.root))
            child = self.train(run)
        self.ended(child, f"{run.path} in peace", ())

    def some_run(self) -> Job:
        """Mostly one that is not finished, for there is more to be done wrong."""
        left = [run for run in self.runs if run not in self.finished(self.root)]
        return self.chance.choice(left if left and self.chance.random() < 0.9 else self.runs)

    def moment(self) -> float:
        return self.chance.uniform(0.2, 1.0) * self.seconds

    def some_point(self) -> tuple[str, int]:
        point = self.chance.choice(sorted(self.writes))
        return point, self.chance.choice([1, 1, self.chance.randint(1, self.writes[point])])

    # ------------------------------------------------------------------ kinds of faults

    def killed(self) -> int:
        """At a random moment."""
        run = self.some_run()
        child = self.train(run)
        time.sleep(self.moment())
        child.kill()
        return self.ended(child, f"kill {run.path}", (-9,))

    def killed_at_a_write(self, run: Job | None = None) -> int:
        """Before, inside or after a call that changes a record."""
        run, (point, number) = run or self.some_run(), self.some_point()
        kill = at_occurrence(point, number, lambda: os.kill(os.getpid(), signal.SIGKILL))
        child = self.train(run, lambda: Writes(self.root, kill))
        hit = self.ended(child, f"kill {point} ({number}) of {run.path}", (-9,))
        self.points[point] += hit
        return hit

    def killed_in_two_saves(self) -> int:
        """In a save, and in the first save after it."""
        run, hits = self.some_run(), 0
        for _ in range(2):
            point = self.chance.choice(sorted(p for p in self.writes if "checkpoint" in p))
            kill = at_occurrence(point, 1, lambda: os.kill(os.getpid(), signal.SIGKILL))
            child = self.train(run, lambda at=kill: Writes(self.root, at))
            hit = self.ended(child, f"kill {point} of the first save of {run.path}", (-9,))
            self.points[point] += hit
            hits += hit
        return hits

    def signalled(self) -> int:
        """SIGINT, SIGTERM or SIGHUP at a random moment or a write."""
        run, number = self.some_run(), self.chance.choice(SIGNALS)
        name = signal.Signals(number).name
        if self.chance.random() < 0.5:
            point, occurrence = self.some_point()
            at = at_occurrence(point, occurrence, lambda: os.kill(os.getpid(), number))
            child = self.train(run, lambda: Writes(self.root, at))
            return self.ended(child, f"{name} {point} of {run.path}", (130,))
        child = self.train(run)
        time.sleep(self.moment())
        child.send_signal(number)
        # Before Python's handlers are there, and when it ends, the signal itself ends it.
        return self.ended(child, f"{name} {run.path}", (130, -number))

    def refused(self) -> int:
        """The system refuses calls from some write on."""
        run, (point, number) = self.some_run(), self.some_point()
        name = self.chance.choice(REFUSALS)
        refusing = []

        def refuse():
            refusing.append(True)

        first = at_occurrence(point, number, refuse)

        def at(reached: str) -> None:
            first(reached)
            if refusing and not reached.startswith("after"):
                code = getattr(errno, name)
                raise OSError(code, os.strerror(code))

        child = self.train(run, lambda: Writes(self.root, at))
        return self.ended(child, f"{name} {point} ({number}) of {run.path}", (1,))

    def damaged(self) -> int:
        """A file of a record: flipped, cut, emptied, removed, …"""
        written = [
            path
            for run in self.runs
            for name in (*RECORD, PREVIOUS)
            if (path := run.folder(self.root) / name).is_file()
        ]
        if not written:
            self.in_order(self.chance.choice(self.runs))
            return 0
        path, damage = self.chance.choice(written), self.chance.choice(DAMAGES)
        what = f"{damage.__name__} {path.relative_to(self.root / 'runs')}"
        run = next(r for r in self.runs if path.parent == r.folder(self.root))
        damage(path, self.chance)
        self.say(f"  {what}")
        self.compare_believed(what)
        if self.chance.random() < 0.7:
            self.in_order(run)
        return 1

    def limited_files(self) -> int:
        return self._limited("size of files", resource.RLIMIT_FSIZE, lambda r: r.randrange(900_000))

    def limited_memory(self) -> int:
        """Beyond what the process has when it starts."""
        return self._limited(
            "memory", resource.RLIMIT_AS, lambda r: memory_in_use() + r.randrange(8 << 20)
        )

    def limited_descriptors(self) -> int:
        return self._limited(
            "descriptors",
            resource.RLIMIT_NOFILE,
            lambda r: max(map(int, os.listdir("/proc/self/fd"))) + r.randint(1, 3),
        )

    def _limited(self, what: str, kind: int, value: Callable[[random.Random], int]) -> int:
        run, own = self.some_run(), random.Random(self.chance.random())
        child = self.train(run, lambda: limit(kind, value(own)))
        return self.ended(child, f"limit on {what}: {run.path}", (1,))

    def full_disk(self) -> int:
        """Some room is left; sometimes a whole table runs into it."""
        whole, run = self.chance.random() < 0.25, self.some_run()
        self.root.mkdir(exist_ok=True)
        with open(self.root.parent / "filler", "wb") as filler:
            free = os.statvfs(self.root)
            room = self.chance.choice([0, 4096, self.chance.randrange(2_000_000)])
            os.posix_fallocate(filler.fileno(), 0, max(1, free.f_bavail * free.f_frsize - room))
        child = self.table() if whole else self.train(run)
        hit = self.ended(child, f"{room} bytes left: {'table' if whole else run.path}", (1,))
        os.unlink(self.root.parent / "filler")
        return hit

    def read_only_disk(self) -> int:
        run = self.some_run()
        finished = run in self.finished(self.root)
        self._remount("ro")
        try:
            child = self.train(run)
            hit = self.ended(child, f"read-only disk: {run.path}", (1,))
            if finished == hit:
                self.odd.append(f"read-only disk: finished {finished}, refused {hit}")
        finally:
            self._remount("rw")
        return 1

    def _remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.root.parent)], check=True)

    def removed(self) -> int:
        """The whole root, while a run is at work; what it held has to be trained again."""
        run = self.some_run()
        child = self.train(run)
        time.sleep(self.moment())
        gone = self.root.with_name("gone")
        if not self.root.exists():
            child.wait()
            return 0
        os.rename(self.root, gone)
        hit = self.ended(child, f"root removed: {run.path}", (1,))
        shutil.rmtree(gone)
        return hit

    def no_place(self) -> int:
        """A root that is no folder and cannot be one."""
        run = self.chance.choice(self.runs)
        link, file = self.place / "link", self.place / "file"
        if not file.exists():
            file.touch()
            link.symlink_to("nowhere/at/all")
        root = self.chance.choice([link, file, self.place / ("x" * 300)])
        what = f"root is {root.name[:9]}: {run.path}"
        if not self.ended(self.train(run, root=root), what, (1, 2)):
            self.odd.append(f"{what}: it was taken")
        return 1

    def killed_table(self) -> int:
        """The runner of a table, at a random moment; its runs have to end with it."""
        child = self.table()
        time.sleep(self.moment() * 3)
        child.kill()
        hit = self.ended(child, "kill the table", (-9,))
        self._wait_for_locks()
        return hit

    def signalled_table(self) -> int:
        child, number = self.table(), self.chance.choice(SIGNALS)
        time.sleep(self.moment() * 3)
        child.send_signal(number)
        hit = self.ended(child, f"{signal.Signals(number).name} to the table", (130, -number))
        self._wait_for_locks()
        return hit

    def _wait_for_locks(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        for run in self.runs:
            while run.folder(self.root).is_dir():
                lock = lock_run(run.folder(self.root))
                if lock is not None:
                    unlock(lock)
                    break
                if time.monotonic() > deadline:
                    self.odd.append(f"the lock on {run.path} is not released")
                    return
                time.sleep(0.02)

    def two_tables(self) -> int:
        """The same table twice at once: each run is trained once."""
        root = self.root.with_name("two")
        for child in (self.table(root=root), self.table(root=root)):
            self.ended(child, "two tables at once", ())
        for run in self.runs:
            if self.numbers(run, root) != self.truth[run]:
                self.wrong.append(f"two tables at once: {run.path}")
            starts = json.loads((run.folder(root) / "environment.json").read_text())
            if len(starts) != 1:
                self.odd.append(f"two tables at once: {run.path} was trained {len(starts)} times")
        shutil.rmtree(root)
        return 1

    def two_other_tables(self) -> int:
        """Two tables of other settings at once on one root: none shows the other's numbers."""
        root = self.root.with_name("two")
        rates = ("0.05", "0.2")
        children = [self.table(f"optimizer.lr={rate}", root=root) for rate in rates]
        hits = [self.ended(c, "two other tables at once", (1, 2)) for c in children]
        made = Counter(
            yaml.safe_load(p.read_text())["optimizer"]["lr"] for p in root.rglob("config.yaml")
        )
        for hit, child, rate in zip(hits, children, rates, strict=True):
            if hit != (made[float(rate)] < len(self.runs)):
                self.odd.append(f"two other tables at once: {made}, lr {rate} {child.returncode}")
            if hit and "optimizer.lr" not in child.printed:
                self.odd.append("two other tables at once: the difference is not named")
        shutil.rmtree(root)
        return 1


# How often each comes, beside its function.
KINDS: dict[str, tuple[Callable[[Chaos], int], int]] = {
    "kill": (Chaos.killed, 3),
    "kill at a write": (Chaos.killed_at_a_write, 6),
    "kill in two saves": (Chaos.killed_in_two_saves, 2),
    "signal": (Chaos.signalled, 3),
    "refused call": (Chaos.refused, 5),
    "damaged file": (Chaos.damaged, 6),
    "limit on files": (Chaos.limited_files, 2),
    "limit on memory": (Chaos.limited_memory, 2),
    "limit on descriptors": (Chaos.limited_descriptors, 2),
    "full disk": (Chaos.full_disk, 3),
    "read-only disk": (Chaos.read_only_disk, 1),
    "removed root": (Chaos.removed, 1),
    "no place": (Chaos.no_place, 1),
    "killed table": (Chaos.killed_table, 1),
    "signalled table": (Chaos.signalled_table, 1),
    "two tables": (Chaos.two_tables, 1),
    "two other tables": (Chaos.two_other_tables, 1),
}
NEED_A_DISK = ("full disk", "read-only disk")


def summary(chaos: Chaos, left_out: Sequence[str]) -> str:
    kinds = [f"  {kind:22}{chaos.faults[kind]:4}" for kind in KINDS if kind in chaos.faults]
    left = [f"left out, as no disk can be mounted here: {', '.join(left_out)}"] if left_out else []
    return "\n".join(
        [
            f"{sum(chaos.faults.values())} faults in {chaos.rounds} rounds:",
            *kinds,
            *left,
            f"killed at {len(chaos.points)} different writes",
            f"records that had to be deleted, as a message said: {chaos.deleted}",
            f"ended otherwise than it should (traceback, hang, wrong status): {len(chaos.odd)}",
            f"cells lost: {len(chaos.lost)}",
            f"cells wrong: {len(chaos.wrong)}",
        ]
    )


def arguments_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=50, help="how many (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default 0)")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=KINDS,
        metavar="KIND",
        default=list(KINDS),
        help=f"which (default all): {', '.join(KINDS)}",
    )
    parser.add_argument("--write", type=Path, help="also write what is printed to this file")
    return parser.parse_args()


def with_own_mounts() -> bool:
    """Whether a disk can be mounted: starts this command again where that is possible."""
    if os.environ.get(OWN_MOUNTS):
        return True
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        if subprocess.run([*unshare, "mount", "-t", "tmpfs", "t", "/mnt"]).returncode == 0:
            os.environ[OWN_MOUNTS] = "1"
            os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    except OSError:
        pass
    return False


def main() -> int:
    arguments = arguments_of()
    disk = with_own_mounts()
    torch.set_num_threads(1)  # nothing may run beside this thread when it forks
    lines: list[str] = []

    def say(text: str) -> None:
        lines.append(text)
        print(text, flush=True)

    code = describe_environment("cpu")["code"]
    say(
        f"chaos.py --faults {arguments.faults} --seed {arguments.seed}, commit {code['commit']}"
        + (" and changes" if code["modified"] else "")
    )
    left_out = [] if disk else [kind for kind in arguments.kinds if kind in NEED_A_DISK]
    kinds = [kind for kind in arguments.kinds if kind not in left_out]
    with tempfile.TemporaryDirectory() as temporary:
        chaos = Chaos(Path(temporary), arguments.seed, disk, say)
        mounted = chaos.root.parent
        if disk:
            size = f"size={DISK_BYTES}"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "chaos", mounted], check=True)
        status = 0
        try:
            chaos.in_peace()
            if kinds:
                chaos.go(kinds, arguments.faults)
        except KeyboardInterrupt:
            say("stopped")
            status = 130
        except UserError as error:
            say(f"chaos.py: {error}")
            status = 1
        finally:
            for child in chaos.children:
                child.kill()
            if disk:
                subprocess.run(["umount", "-l", mounted], check=True)
            say(summary(chaos, left_out))
            if arguments.write:
                files.write_text(arguments.write, "\n".join(lines) + "\n")
    return status or int(bool(chaos.lost or chaos.wrong or chaos.odd))


if __name__ == "__main__":
    sys.exit(main())
