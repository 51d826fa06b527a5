"""What the records under a results root say of runs: which are finished, and with what."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gnp.jobs.job import Job
from gnp.jobs.wanted import SeriesMismatch, Wanted
from gnp.tracking.ahead import read_ahead
from gnp.tracking.compare import config_difference
from gnp.tracking.diverged import DivergedRecord, read_diverged
from gnp.tracking.reading import SUMMARY, DamagedRecord, FinishedRecord, read_finished

Cell = TypeVar("Cell", bound=Hashable)


@dataclass(frozen=True)
class FinishedRun:
    """A run whose record is whole."""

    run: Job
    record: FinishedRecord

    @property
    def folder(self) -> Path:
        return self.record.folder

    @property
    def summary(self) -> dict[str, Any]:
        return self.record.summary

    @property
    def config(self) -> dict[str, Any]:
        return self.record.config

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """An entry an epoch."""
        return self.record.metrics

    @property
    def code(self) -> str:
        """The commits that it was trained with; a star marks sources changed since."""
        return self.record.code

    @property
    def error_name(self) -> str:
        return f"{self.summary['evaluated']}_error"

    @property
    def loss_name(self) -> str:
        return f"{self.summary['evaluated']}_loss"

    @property
    def error(self) -> float:
        """Error (%) of the last epoch's weights."""
        return self.summary["final"][self.error_name]

    @property
    def best_error(self) -> float:
        """Error (%) of the best epoch, which was chosen by this very error."""
        return self.summary["best"][self.error_name]


@dataclass(frozen=True)
class OtherRun:
    """A record, whole, of a run with another config than is wanted here."""

    run: Job
    folder: Path
    difference: list[str]

    def __str__(self) -> str:
        return f"{self.folder} was made with another config: {'; '.join(self.difference)}"


@dataclass(frozen=True)
class DivergedRun:
    """A run whose loss became NaN or infinite: an outcome, which is not tried again."""

    run: Job
    record: DivergedRecord

    def __str__(self) -> str:
        return f"{self.run.path} {self.record}"


@dataclass(frozen=True)
class Records:
    """What was found of some runs, each list in their order. A run is in one of ``finished``,
    ``diverged``, ``absent``, ``damaged``, ``others``."""

    finished: list[FinishedRun] = field(default_factory=list)
    diverged: list[DivergedRun] = field(default_factory=list)
    absent: list[Job] = field(default_factory=list)
    damaged: list[tuple[Job, DamagedRecord]] = field(default_factory=list)
    others: list[OtherRun] = field(default_factory=list)

    @property
    def missing(self) -> list[Job]:
        """The runs that are to be made, or to be made anew."""
        return [*self.absent, *(run for run, _ in self.damaged), *(o.run for o in self.others)]

    @property
    def warnings(self) -> list[str]:
        """A line for each record that is there and not used."""
        return [
            *(f"{e}; the command that trains it makes it again" for _, e in self.damaged),
            *(f"{other}; it is left out" for other in self.others),
        ]


def find_record(
    run: Job, root: str | Path, wanted: Wanted | None, unrecorded: Mapping[str, Any] = {}
) -> FinishedRun | DivergedRun | OtherRun | None:
    """A run's record, compared with its wanted config; None if it neither finished nor diverged.

    Raises:
        DamagedRecord: it is not whole.
    """
    folder = run.folder(root)
    record = read_finished(folder) or read_diverged(folder)
    if record is None:
        return None
    if wanted is not None and (
        difference := config_difference(record.config, wanted(run), unrecorded)
    ):
        return OtherRun(run, folder, difference)
    if isinstance(record, DivergedRecord):
        return DivergedRun(run, record)
    return FinishedRun(run, record)


def read_runs_ahead(
    runs: Iterable[Job],
    root: str | Path,
    wanted: Wanted,
    meanwhile: Callable[[], object] = lambda: None,
    work_out: Callable[[FinishedRecord], object] = lambda record: None,
) -> None:
    """Let other processes read the records of runs, if they are many, while the configs that they
    will be compared with are composed here, and ``meanwhile`` is called; ``work_out`` as in
    ``read_ahead``. No result and no error is different after it."""
    folders = {run: run.folder(root) for run in runs}
    recorded = {run: f for run, f in folders.items() if os.path.exists(f / SUMMARY)}
    one_of_each_cell = {folder.parent: run for run, folder in recorded.items()}.values()

    def prepare() -> None:
        meanwhile()
        for run in one_of_each_cell:
            with suppress(Exception):  # it is raised again when that config is asked for
                wanted(run)

    read_ahead(list(recorded.values()), prepare, work_out)


def read_runs(
    runs: Iterable[Job],
    root: str | Path,
    wanted: Wanted | None = None,
    unrecorded: Mapping[str, Any] = {},
) -> Records:
    """Read and prove the records of some runs.

    Args:
        wanted: the config that a run must have been made with; None compares nothing.
        unrecorded: what a record that does not name a setting was made with.
    """
    records = Records()
    for run in runs:
        try:
            found = find_record(run, root, wanted, unrecorded)
        except DamagedRecord as error:
            records.damaged.append((run, error))
            continue
        if found is None:
            records.absent.append(run)
        elif isinstance(found, OtherRun):
            records.others.append(found)
        elif isinstance(found, DivergedRun):
            records.diverged.append(found)
        else:
            records.finished.append(found)
    return records


def read_series(
    cells: Mapping[Cell, Sequence[Job]],
    root: str | Path,
    wanted: Wanted | None,
    unrecorded: Mapping[str, Any],
) -> tuple[dict[Cell, Records], list[str]]:
    """The records of all runs of a table or a study, and warnings about those that are left out.

    Args:
        cells: what is shown as one → its runs.
        wanted, unrecorded: as in ``read_runs``.

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
    """
    read = {cell: read_runs(runs, root, wanted, unrecorded) for cell, runs in cells.items()}
    _leave_out_other_data(read.values())
    others = [other for records in read.values() for other in records.others]
    if others and not any(records.finished for records in read.values()):
        raise SeriesMismatch(
            f"none of the {len(others)} finished runs in {root} was made with these settings:\n"
            f"  {others[0]}\nSay what they were trained with (overrides=[…]), or take another "
            f"root=…."
        )
    return read, [warning for records in read.values() for warning in records.warnings]


def said_of_diverged(read: Iterable[Records]) -> list[str]:
    """A warning for each run that diverged: where it counts, what is shown is without it."""
    return [
        f"{one}; what is shown is without it. Its log says what to try; with its folder deleted it "
        f"is tried again"
        for records in read
        for one in records.diverged
    ]


def _leave_out_other_data(read: Iterable[Records]) -> None:
    """Of the runs that name one data set, those that were trained on other images and labels than
    most are no longer ``finished``."""
    read = list(read)
    digests: dict[str, Counter[str]] = defaultdict(Counter)
    for records in read:
        for f in records.finished:
            if f.record.data is not None:
                digests[repr(f.config.get("dataset"))][f.record.data] += 1
    for records in read:
        for f in list(records.finished):
            counts = digests[repr(f.config.get("dataset"))]
            if f.record.data is None or f.record.data == counts.most_common(1)[0][0]:
                continue
            records.finished.remove(f)
            what = f"images and labels of digest {f.record.data}, not the other runs' of that name"
            records.others.append(OtherRun(f.run, f.folder, [what]))


def differences(
    finished: Sequence[FinishedRun],
    comparable: Callable[[dict[str, Any]], dict[str, Any]],
    unrecorded: Mapping[str, Any],
) -> list[str]:
    """A warning for each run whose config differs from that of the first one.

    Args:
        comparable: a config → it without what may differ.
        unrecorded: what a record that does not name a setting was made with.
    """
    configs = [comparable(f.config) for f in finished]
    return [
        f"{f.run.path} and {finished[0].run.path} differ: {'; '.join(difference)}"
        for f, config in zip(finished, configs, strict=True)
        if (difference := config_difference(configs[0], config, unrecorded))
    ]
