"""Rounds of faults on a small table, compared number for number with one that was left in peace."""

import random
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

import gnp.training.run  # noqa: F401  (the children that are forked from here have it)
from gnp.data.digest import digest_of
from gnp.errors import UserError
from gnp.faults.children import SCRIPTS, Child
from gnp.faults.inside import Writes
from gnp.jobs import pool, read_runs
from gnp.jobs.job import Job
from gnp.tables import TableSpec
from gnp.tracking.reading import CONFIG, PREDICTIONS
from gnp.training.checkpoint import Unusable, read_checkpoint

TABLE = SCRIPTS.parent / "configs/table/quickstart.yaml"
SMALL = [
    "model.width=0.0625",
    "training.epochs=4",
    "training.batch_size=16",
    "dataset.synthetic_train_per_class=8",
    "dataset.synthetic_test_per_class=4",
    "runtime.device=cpu",
    "runtime.threads=1",
    "wandb.mode=disabled",
]
ROUND = 20  # faults on one root


Fault = Callable[["Chaos"], int]  # lets it happen, and returns how many hit


class Chaos:
    """Rounds of faults on ``place / "root"``, compared with ``place / "peaceful"``.

    Attributes are what was seen up to now.
    """

    def __init__(self, place: Path, seed: int, say: Callable[[str], None]):
        self.chance, self.say = random.Random(seed), say
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
        self.taken = 0  # checkpoints of finished runs, whose weights could not be compared
        self.rounds = 0
        self.children: list[Child] = []

    # ------------------------------------------------------------------ starts

    def train(self, run: Job, before=lambda: None, root: Path | None = None) -> Child:
        settings = [*run.settings(), f"root={root or self.root}", *SMALL]
        return self._started(Child("train.py", settings, before))

    def table(self, *overrides: str, root: Path | None = None) -> Child:
        settings = [
            "table=quickstart",
            "table.seeds=[0]",
            "device=cpu",
            "jobs=2",
            f"root={root or self.root}",
            f"overrides={[*SMALL, *overrides]}",
        ]
        return self._started(Child("reproduce_table.py", settings))

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
        elif status not in (0, *expected) and not (status == 2 and "elete " in printed):
            # 2 and "delete …": two damages in one record, which then says no more what it was.
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
        root = self.place / "once/root"

        def note():
            out = open(seen, "w", buffering=1)  # noqa: SIM115
            Writes(root, lambda name: out.write(f"{name}\n"))

        started = time.monotonic()
        self.train(self.runs[-1], note, root).wait()
        self.seconds = time.monotonic() - started
        self.writes = Counter(seen.read_text().splitlines())
        self.say(f"{len(self.runs)} runs in peace; a run meets {len(self.writes)} kinds of writes")

    def numbers(self, run: Job, root: Path):
        """All of a finished run's numbers but the clock's, and its predictions; or None."""
        records = read_runs([run], root)
        if not records.finished:
            return None
        record = records.finished[0]
        lines = [{k: v for k, v in m.items() if "seconds" not in k} for m in record.metrics]
        clock = ("seconds", "finished", "files", "sha256")
        predictions = record.summary.get("files", {}).get(PREDICTIONS)  # their checksum, proven
        return lines, {k: v for k, v in record.summary.items() if k not in clock}, predictions

    def left(self) -> list[Job]:
        """The runs that are not finished."""
        return read_runs(self.runs, self.root).missing

    def weights(self, run: Job, root: Path) -> str | None:
        """The digest of all state after the last epoch; None if a fault took its file when the run
        was finished."""
        try:
            state = read_checkpoint(run.folder(root) / "checkpoint.pt")
        except Unusable:
            return None
        clock = ("metrics", "run", "config", "data")
        return digest_of({k: v for k, v in state.items() if k not in clock})

    # ------------------------------------------------------------------ rounds

    def go(self, kinds: Mapping[str, tuple[Fault, int]], faults: int) -> None:
        """Rounds until so many faults have hit.

        Args:
            kinds: name → its function and how often it comes, beside the others.
        """
        bag: list[str] = []
        often = [kind for kind in kinds for _ in range(kinds[kind][1])]
        while (before := self.faults.total()) < faults:
            self.rounds += 1
            self.say(f"round {self.rounds}")
            end = min(faults, before + ROUND)
            while self.faults.total() < end and self.left():
                bag = bag or self.chance.sample(often, len(often))
                kind = bag.pop()
                done = len(self.odd)
                self.faults[kind] += kinds[kind][0](self)
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
        """The table's own command mends everything, but for what it says has to be deleted."""
        if self.ended(self.table(), "the table in peace", (1,)):
            for run in self.left():
                self.in_order(run)
            self.ended(self.table(), "the table in peace", ())
        for run in self.runs:
            weights = self.weights(run, self.root)
            self.taken += weights is None
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
        left = self.left()
        return self.chance.choice(left if left and self.chance.random() < 0.9 else self.runs)

    def moment(self) -> float:
        return self.chance.uniform(0.1, 0.9) * self.seconds

    def some_point(self, run: Job) -> tuple[str, int]:
        """A write that the run may come to, and which time."""
        folder = run.folder(self.root)
        done = [
            word for word, path in (("mkdir", folder), (CONFIG, folder / CONFIG)) if path.exists()
        ]
        point = self.chance.choice(
            sorted(p for p in self.writes if not any(word in p for word in done))
        )
        return point, self.chance.choice([1, 1, self.chance.randint(1, self.writes[point])])
