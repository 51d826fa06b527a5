"""The kinds of faults. Each returns how many of its faults hit."""

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import yaml

from gnp.faults.children import PATIENCE_SECONDS, Child
from gnp.faults.damage import DAMAGES
from gnp.faults.inside import Writes, at_occurrence, limit, memory_in_use
from gnp.faults.rounds import Chaos, Fault
from gnp.jobs import pool
from gnp.tracking.lock import lock_run
from gnp.training.checkpoint import PREVIOUS

REFUSALS = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EMFILE", "ENOMEM", "ENOSYS", "EFBIG")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RECORD = ("config.yaml", "environment.json", "metrics.jsonl", "predictions.npz")
RECORD += ("summary.json", "checkpoint.pt")


def killed(chaos: Chaos) -> int:
    """At a random moment."""
    run = chaos.some_run()
    child = chaos.train(run)
    time.sleep(chaos.moment())
    child.kill()
    return chaos.ended(child, f"kill {run.path}", (-9,))


def killed_at_a_write(chaos: Chaos) -> int:
    """Before, inside or after a call that changes a record."""
    run = chaos.some_run()
    point, number = chaos.some_point(run)
    kill = at_occurrence(point, number, lambda: os.kill(os.getpid(), signal.SIGKILL))
    child = chaos.train(run, lambda: Writes(chaos.root, kill))
    hit = chaos.ended(child, f"kill {point} ({number}) of {run.path}", (-9,))
    chaos.points[point] += hit
    return hit


def killed_in_two_saves(chaos: Chaos) -> int:
    """In a save, and in the first save after it."""
    run, hits = chaos.some_run(), 0
    for _ in range(2):
        point = chaos.chance.choice(sorted(p for p in chaos.writes if "checkpoint" in p))
        kill = at_occurrence(point, 1, lambda: os.kill(os.getpid(), signal.SIGKILL))
        child = chaos.train(run, lambda at=kill: Writes(chaos.root, at))
        hit = chaos.ended(child, f"kill {point} of the first save of {run.path}", (-9,))
        chaos.points[point] += hit
        hits += hit
    return hits


def signalled(chaos: Chaos) -> int:
    """SIGINT, SIGTERM or SIGHUP at a random moment or a write."""
    run, number = chaos.some_run(), chaos.chance.choice(SIGNALS)
    name = signal.Signals(number).name
    if chaos.chance.random() < 0.5:
        point, occurrence = chaos.some_point(run)
        at = at_occurrence(point, occurrence, lambda: os.kill(os.getpid(), number))
        child = chaos.train(run, lambda: Writes(chaos.root, at))
        return chaos.ended(child, f"{name} {point} of {run.path}", (130,))
    child = chaos.train(run)
    time.sleep(chaos.moment())
    child.send_signal(number)
    # Before Python's handlers are there, and when it ends, the signal itself ends it.
    return chaos.ended(child, f"{name} {run.path}", (130, -number))


def refused(chaos: Chaos) -> int:
    """The system refuses calls from some write on."""
    run = chaos.some_run()
    point, number = chaos.some_point(run)
    name = chaos.chance.choice(REFUSALS)
    refusing = []

    def refuse():
        refusing.append(True)

    first = at_occurrence(point, number, refuse)

    def at(reached: str) -> None:
        first(reached)
        if refusing and not reached.startswith("after"):
            code = getattr(errno, name)
            raise OSError(code, os.strerror(code))

    child = chaos.train(run, lambda: Writes(chaos.root, at))
    return chaos.ended(child, f"{name} {point} ({number}) of {run.path}", (1,))


def damaged(chaos: Chaos) -> int:
    """A file of a record: flipped, cut, emptied, removed, …"""
    written = [
        path
        for run in chaos.runs
        for name in (*RECORD, PREVIOUS)
        if (path := run.folder(chaos.root) / name).is_file()
    ]
    if not written:
        chaos.in_order(chaos.chance.choice(chaos.runs))
        return 0
    path, damage = chaos.chance.choice(written), chaos.chance.choice(DAMAGES)
    what = f"{damage.__name__} {path.relative_to(chaos.root / 'runs')}"
    run = next(r for r in chaos.runs if path.parent == r.folder(chaos.root))
    damage(path, chaos.chance)
    chaos.say(f"  {what}")
    chaos.compare_believed(what)
    if chaos.chance.random() < 0.7:
        chaos.in_order(run)
    return 1


def limited_files(chaos: Chaos) -> int:
    return _limited(chaos, "size of files", resource.RLIMIT_FSIZE, lambda r: r.randrange(900_000))


def limited_memory(chaos: Chaos) -> int:
    """Beyond what the process has when it starts."""
    return _limited(
        chaos, "memory", resource.RLIMIT_AS, lambda r: memory_in_use() + r.randrange(8 << 20)
    )


def limited_descriptors(chaos: Chaos) -> int:
    """No further file can be opened from some write on."""
    run = chaos.some_run()
    point, number = chaos.some_point(run)

    at = at_occurrence(point, number, lambda: limit(resource.RLIMIT_NOFILE, 3))
    child = chaos.train(run, lambda: Writes(chaos.root, at))
    return chaos.ended(child, f"no descriptors {point} ({number}) of {run.path}", (1,))


def _limited(chaos: Chaos, what: str, kind: int, value: Callable[[random.Random], int]) -> int:
    run, own = chaos.some_run(), random.Random(chaos.chance.random())
    child = chaos.train(run, lambda: limit(kind, value(own)))
    return chaos.ended(child, f"limit on {what}: {run.path}", (1,))


def full_disk(chaos: Chaos) -> int:
    """Some room is left; sometimes a whole table runs into it."""
    whole, run = chaos.chance.random() < 0.25, chaos.some_run()
    chaos.root.mkdir(exist_ok=True)
    with open(chaos.root.parent / "filler", "wb") as filler:
        free = os.statvfs(chaos.root)
        room = chaos.chance.choice([0, 4096, chaos.chance.randrange(2_000_000)])
        os.posix_fallocate(filler.fileno(), 0, max(1, free.f_bavail * free.f_frsize - room))
    child = chaos.table() if whole else chaos.train(run)
    hit = chaos.ended(child, f"{room} bytes left: {'table' if whole else run.path}", (1,))
    os.unlink(chaos.root.parent / "filler")
    return hit


def read_only_disk(chaos: Chaos) -> int:
    run = chaos.some_run()
    finished = run not in chaos.left()
    _remount(chaos, "ro")
    try:
        child = chaos.train(run)
        hit = chaos.ended(child, f"read-only disk: {run.path}", (1,))
        if finished == hit:
            chaos.odd.append(f"read-only disk: finished {finished}, refused {hit}")
    finally:
        _remount(chaos, "rw")
    return 1


def _remount(chaos: Chaos, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(chaos.root.parent)], check=True)


def removed(chaos: Chaos) -> int:
    """The whole root, while a run is at work; what it held has to be trained again."""
    run, gone = chaos.some_run(), chaos.root.with_name("gone")
    point, number = chaos.some_point(run)
    rename = os.rename
    at = at_occurrence(point, number, lambda: rename(chaos.root, gone))
    child = chaos.train(run, lambda: Writes(chaos.root, at))
    hit = chaos.ended(child, f"root removed {point} ({number}) of {run.path}", (1,))
    if gone.exists():
        shutil.rmtree(gone)
    return hit


def no_place(chaos: Chaos) -> int:
    """A root that is no folder and cannot be one."""
    run = chaos.chance.choice(chaos.runs)
    link, file = chaos.place / "link", chaos.place / "file"
    if not file.exists():
        file.touch()
        link.symlink_to("nowhere/at/all")
    root = chaos.chance.choice([link, file, chaos.place / ("x" * 300)])
    what = f"root is {root.name[:9]}: {run.path}"
    if not chaos.ended(chaos.train(run, root=root), what, (1, 2)):
        chaos.odd.append(f"{what}: it was taken")
    return 1


def killed_table(chaos: Chaos) -> int:
    """The runner of a table, at a random moment; its runs have to end with it."""
    child = _table_at_work(chaos)
    child.kill()
    hit = chaos.ended(child, "kill the table", (-9,))
    _wait_for_locks(chaos)
    return hit


def signalled_table(chaos: Chaos) -> int:
    child, number = _table_at_work(chaos), chaos.chance.choice(SIGNALS)
    child.send_signal(number)
    hit = chaos.ended(child, f"{signal.Signals(number).name} to the table", (130, -number))
    _wait_for_locks(chaos)
    return hit


def _table_at_work(chaos: Chaos) -> Child:
    """A table at a random moment after its first child has begun, or at its end."""
    logs = [run.folder(chaos.root) / pool.LOG for run in chaos.runs]
    before = [log.exists() and log.stat().st_mtime_ns for log in logs]
    child, deadline = chaos.table(), time.monotonic() + PATIENCE_SECONDS
    while (
        child.poll() is None
        and [log.exists() and log.stat().st_mtime_ns for log in logs] == before
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    time.sleep(chaos.moment() * 3)
    return child


def _wait_for_locks(chaos: Chaos) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    for run in chaos.runs:
        while run.folder(chaos.root).is_dir():
            lock = lock_run(run.folder(chaos.root))
            if lock is not None:
                lock.release()
                break
            if time.monotonic() > deadline:
                chaos.odd.append(f"the lock on {run.path} is not released")
                return
            time.sleep(0.02)


def two_tables(chaos: Chaos) -> int:
    """The same table twice at once: each run is trained once."""
    root = chaos.root.with_name("two")
    for child in (chaos.table(root=root), chaos.table(root=root)):
        chaos.ended(child, "two tables at once", ())
    for run in chaos.runs:
        if chaos.numbers(run, root) != chaos.truth[run]:
            chaos.wrong.append(f"two tables at once: {run.path}")
        starts = json.loads((run.folder(root) / "environment.json").read_text())
        if len(starts) != 1:
            chaos.odd.append(f"two tables at once: {run.path} was trained {len(starts)} times")
    shutil.rmtree(root)
    return 1


def two_other_tables(chaos: Chaos) -> int:
    """Two tables of other settings at once on one root: none shows the other's numbers."""
    root = chaos.root.with_name("two")
    rates = ("0.05", "0.2")
    children = [chaos.table(f"optimizer.lr={rate}", root=root) for rate in rates]
    hits = [chaos.ended(c, "two other tables at once", (1, 2)) for c in children]
    made = Counter(
        yaml.safe_load(p.read_text())["optimizer"]["lr"] for p in root.rglob("config.yaml")
    )
    for hit, child, rate in zip(hits, children, rates, strict=True):
        if hit != (made[float(rate)] < len(chaos.runs)):
            chaos.odd.append(f"two other tables at once: {made}, lr {rate} {child.returncode}")
        if hit and "optimizer.lr" not in child.printed:
            chaos.odd.append("two other tables at once: the difference is not named")
    shutil.rmtree(root)
    return 1


# How often each comes, beside its function.
KINDS: dict[str, tuple[Fault, int]] = {
    "kill": (killed, 3),
    "kill at a write": (killed_at_a_write, 6),
    "kill in two saves": (killed_in_two_saves, 2),
    "signal": (signalled, 3),
    "refused call": (refused, 5),
    "damaged file": (damaged, 6),
    "limit on files": (limited_files, 2),
    "limit on memory": (limited_memory, 2),
    "limit on descriptors": (limited_descriptors, 2),
    "full disk": (full_disk, 3),
    "read-only disk": (read_only_disk, 1),
    "removed root": (removed, 1),
    "no place": (no_place, 1),
    "killed table": (killed_table, 1),
    "signalled table": (signalled_table, 1),
    "two tables": (two_tables, 1),
    "two other tables": (two_other_tables, 1),
}
NEED_A_DISK = ("full disk", "read-only disk")
