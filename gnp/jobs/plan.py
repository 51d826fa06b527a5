"""What is done of a table or a study, what the rest costs, and what of it fits into some hours."""

import heapq
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnp.files import end_of
from gnp.jobs.check import check_records
from gnp.jobs.costs import ask_costs
from gnp.jobs.finished import Records
from gnp.jobs.job import Job
from gnp.jobs.pool import LOG
from gnp.jobs.slots import Slot, available_cores, choose_slots
from gnp.jobs.wanted import Wanted, WantedConfigs
from gnp.jobs.work import Work, checkpoint_bytes, work_of
from gnp.settings.gpus import GPUS, named_gpus
from gnp.settings.job import JobSettings
from gnp.settings.series import Series
from gnp.tracking.diverged import read_diverged
from gnp.tracking.reading import CHECKPOINT, DamagedRecord, read_metrics

FINISHED, DIVERGED, DAMAGED, FAILED = "finished", "diverged", "damaged", "failed"
STARTED, MISSING = "started", "missing"
DONE = (FINISHED, DIVERGED)  # there is nothing left to do
SCRIPT = "train.py: "  # its message begins with it
BEGUN = re.compile(r": going on after epoch \d+$|: \d+ epochs of \d+ steps$|^epoch +\d+/\d+ ")
IMAGES = ("train_images", "evaluation_images")  # of a summary
LOG_BYTES, MESSAGE_LINES = 20_000, 10  # of the end of a log, where a message is looked for


@dataclass(frozen=True)
class PlannedRun:
    """``epochs`` are behind it; ``left`` is the work of the others, ``whole`` of all.

    ``why``: what a failed one's last start said, or what is damaged.
    """

    run: Job
    state: str
    epochs: int
    whole: Work
    left: Work
    bytes: int
    cost: Mapping[str, Any]
    precision: str
    why: str = ""

    @property
    def flops(self) -> float:
        return self.left.flops(self.cost)

    @property
    def seconds(self) -> float:
        """On this machine."""
        return self.left.seconds(self.cost)


@dataclass(frozen=True)
class Machine:
    """``lanes`` runs at a time; ``seconds`` of a run on one of them."""

    name: str
    lanes: int
    seconds: Callable[[PlannedRun], float]

    def ends(self, runs: Sequence[PlannedRun], free: Sequence[float] = ()) -> list[float]:
        """Seconds until each is done, when each goes to the first lane that is free.

        Args:
            free: when each lane is; () is at once.
        """
        return self.put(runs, [*free] or [0.0] * self.lanes)

    def put(self, runs: Sequence[PlannedRun], free: list[float]) -> list[float]:
        """``ends``; ``free``, a heap, becomes what it is after the runs."""
        ends = []
        for run in runs:
            ends.append(free[0] + self.seconds(run))
            heapq.heapreplace(free, ends[-1])
        return ends

    def wall(self, runs: Sequence[PlannedRun]) -> float:
        """Seconds until all are done."""
        return max(self.ends(runs), default=0.0)


@dataclass(frozen=True)
class Unit:
    """The runs, of all methods, that are compared with one another: of one network, data set,
    augmentation and seed; or those of them that fit. ``until``: seconds from the beginning to its
    end. ``whole``: how many they are in all."""

    name: str
    runs: list[PlannedRun]
    until: float
    whole: int


@dataclass(frozen=True)
class Plan:
    """``runs`` are all, in the order in which a table or a study trains them."""

    runs: list[PlannedRun]
    here: Machine
    gpu: Machine | None = None
    max_hours: float | None = None

    @property
    def machine(self) -> Machine:
        """The one that ``max_hours`` are of."""
        return self.gpu or self.here

    @property
    def left(self) -> list[PlannedRun]:
        return [run for run in self.runs if run.state not in DONE]

    @property
    def cells(self) -> dict[Path, list[PlannedRun]]:
        """A run's place without its seed → its runs."""
        cells: dict[Path, list[PlannedRun]] = {}
        for run in self.runs:
            cells.setdefault(run.run.path.parent, []).append(run)
        return cells

    @property
    def disk(self) -> int:
        """Bytes that what is left takes. A run at work has the checkpoint before the last one too,
        and the one being written."""
        left = [run.bytes for run in self.left]
        return sum(left) + 2 * max(left, default=0) * min(self.here.lanes, len(left))

    @cached_property
    def _chosen(self) -> tuple[list[Unit], list[PlannedRun]]:
        """Whole units in their order, and then single runs of those that do not fit whole."""
        limit = float("inf") if self.max_hours is None else 3600 * self.max_hours
        fits: list[Unit] = []
        parts: list[tuple[str, list[PlannedRun]]] = []
        free = [0.0] * self.machine.lanes
        for name, runs in _units(self.left, self.machine):
            if (until := max(self.machine.ends(runs, free))) <= limit:
                self.machine.put(runs, free)
                fits.append(Unit(name, runs, until, len(runs)))
            else:
                parts.append((name, runs))
        rest: list[PlannedRun] = []
        for name, runs in parts:
            some, until = [], 0.0
            for run in sorted(runs, key=self.machine.seconds):
                if self.machine.ends([run], free)[0] <= limit:
                    until = max(until, *self.machine.put([run], free))
                    some.append(run)
                else:
                    rest.append(run)
            if some:
                fits.append(Unit(name, some, until, len(runs)))
        return fits, rest

    @property
    def first(self) -> list[Unit]:
        """What fits into ``max_hours``, in the order in which it should be run."""
        return self._chosen[0]

    @property
    def left_out(self) -> list[PlannedRun]:
        return self._chosen[1]


def _units(left: Sequence[PlannedRun], machine: Machine) -> Iterator[tuple[str, list[PlannedRun]]]:
    """Seed by seed, so that everything is there once before anything is there twice; of a seed what
    is cheapest first."""
    units: dict[tuple[int, Path], list[PlannedRun]] = {}
    for run in left:
        units.setdefault((run.run.seed, run.run.path.parents[1]), []).append(run)
    place = {seed: number for number, seed in enumerate(dict.fromkeys(seed for seed, _ in units))}
    cost = {key: sum(map(machine.seconds, runs)) for key, runs in units.items()}
    for seed, what in sorted(units, key=lambda key: (place[key[0]], cost[key])):
        yield f"{what} seed {seed}", units[seed, what]


def make_plan(
    spec: Series, runs: Sequence[Job], how: JobSettings, say: Callable[[str], None]
) -> Plan:
    """Args:
    spec, runs, how: as of ``reproduce``.
    say: told what takes a while.

    Raises:
        ConfigError, SeriesMismatch: as ``check_records``.
        CostsUnknown: as ``ask_costs``.
    """
    say("reading the records")
    wanted = WantedConfigs(spec, how.root)
    records = check_records(spec, runs, how.root, wanted)
    say("composing the configs")
    cells = {run.path.parent: wanted(run) for run in runs}
    slots = choose_slots(how.device, how.jobs)
    here, missing = this_machine(slots), {run.path.parent for run in records.missing}
    measured = [cell in missing for cell in cells]
    known = list(map(_images(records).get, cells))
    costs = ask_costs(list(cells.values()), measured, known, slots[0], here.lanes, say)
    return Plan(
        plan_runs(runs, how.root, wanted, records, dict(zip(cells, costs, strict=True))),
        here,
        None if how.plan_gpu is None else named_machine(how.plan_gpu, how.plan_utilisation),
        how.max_hours,
    )


def _images(records: Records) -> dict[Path, list[int]]:
    """A cell with a finished run → how many images it trained on and evaluated: they need not be
    here."""
    return {
        f.run.path.parent: [f.summary[name] for name in IMAGES]
        for f in records.finished
        if all(name in f.summary for name in IMAGES)
    }


def plan_runs(
    runs: Sequence[Job],
    root: str,
    wanted: Wanted,
    records: Records,
    costs: Mapping[Path, Mapping[str, Any]],
) -> list[PlannedRun]:
    """Args:
    records: what ``check_records`` found.
    costs: a run's place without its seed → what ``ask_costs`` says of it.
    """
    finished = {f.run for f in records.finished}
    diverged = {one.run: one.record for one in records.diverged}
    damaged = {run: str(error) for run, error in records.damaged}
    work: dict[tuple[Path, int], Work] = {}
    planned = []
    for run in runs:
        cell, config = run.path.parent, wanted(run)
        cost, total = costs[cell], config["training"]["epochs"]
        if run in finished:
            state, epochs, why = FINISHED, total, ""
        elif run in diverged:
            state, epochs, why = DIVERGED, len(diverged[run].metrics), str(diverged[run])
        else:
            state, epochs, why = how_far(run.folder(root))
            if run in damaged:
                state, why = DAMAGED, damaged[run]
        for done in (0, epochs):
            if (cell, done) not in work:
                work[cell, done] = work_of(config, cost["train"], cost["evaluation"], done)
        planned.append(
            PlannedRun(
                run,
                state,
                epochs,
                whole=work[cell, 0],
                left=Work() if state in DONE else work[cell, epochs],
                bytes=checkpoint_bytes(config, cost),
                cost=cost,
                precision=config["training"]["precision"],
                why=why,
            )
        )
    return planned


def how_far(folder: Path) -> tuple[str, int, str]:
    """Of a run that is not finished: its state, the epochs that it will not train again, and what
    its last start said if it failed, its record if it diverged, or what is wrong with that."""
    damage, epochs = "", 0
    try:
        if diverged := read_diverged(folder):
            return DIVERGED, len(diverged.metrics), str(diverged)
    except DamagedRecord as error:
        damage = str(error)
    except OSError:  # then it is told from the rest
        pass
    if (folder / CHECKPOINT).exists():
        try:
            epochs = len(read_metrics(folder))
        except (DamagedRecord, OSError):  # at most one epoch of all is lost, or all
            epochs = 0
    if damage:
        return DAMAGED, epochs, damage
    why = _last_complaint(folder / LOG)
    if why:
        return FAILED, epochs, why
    return (STARTED if epochs or (folder / LOG).exists() else MISSING), epochs, ""


def _last_complaint(log: Path) -> str:
    """What the training script said at the end of its last start; "" if it said nothing, as where
    it was killed, or was stopped."""
    text = end_of(log, LOG_BYTES)
    lines = [line.strip() for line in text.splitlines() if line.strip()][-MESSAGE_LINES:]
    # What an earlier start said is past as soon as a later one is at work.
    begun = max((n for n, line in enumerate(lines) if BEGUN.search(line)), default=-1)
    lines = lines[begun + 1 :]
    own = [number for number, line in enumerate(lines) if line.startswith(SCRIPT)]
    if own:
        said = " ".join(lines[own[-1] :]).removeprefix(SCRIPT)
        return "" if said.startswith("stopped;") else said
    # An error that is no user's: its traceback ends with it.
    return lines[-1] if "Traceback (most recent call last):" in text and _is_error(lines) else ""


def _is_error(lines: Sequence[str]) -> bool:
    return bool(lines) and re.match(r"[\w.]+(Error|Exception)\b", lines[-1]) is not None


def this_machine(slots: Sequence[Slot]) -> Machine:
    """Runs that share a GPU or a core are no faster together than one after the other."""
    gpus = {slot.environment.get("CUDA_VISIBLE_DEVICES") for slot in slots}
    lanes = min(len(slots), available_cores()) if gpus == {None} else len(gpus)
    return Machine("here", lanes, lambda run: run.seconds)


def named_machine(text: str, utilisation: float | None) -> Machine:
    """Args:
    text: "H100", or "4xH100".
    """
    name, count = named_gpus(text)
    gpu = GPUS[name]
    return Machine(
        name if count == 1 else f"{count} {name}",
        count,
        lambda run: run.left.seconds_on(gpu, run.cost, run.precision, utilisation),
    )
