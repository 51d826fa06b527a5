"""A study's records and what was measured of their weights."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gnp.errors import UserError
from gnp.jobs import (
    FinishedRun,
    SeedsResult,
    SeriesResult,
    Wanted,
    read_series,
    said_of_diverged,
)
from gnp.studies.grid import Point, Run
from gnp.studies.why.spec import Measurement, WhySpec
from gnp.studies.why.store import Store

Values = Mapping[str, Any]


class Measurer(Protocol):
    """What measures; ``made`` says by which code and on what."""

    made: Mapping[str, Any]

    def __call__(self, measurement: Measurement, runs: Sequence[FinishedRun]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class WhyResult(SeriesResult):
    """``measured`` has what there is, in the study's order; ``made`` says of each by which code it
    was measured, and on what."""

    spec: WhySpec
    points: dict[Point, SeedsResult]
    measured: dict[Measurement, Values]
    made: dict[Measurement, Mapping[str, Any]]

    @property
    def results(self) -> Collection[SeedsResult]:
        return self.points.values()

    @property
    def missing(self) -> list[Run]:
        """In the order in which they are trained."""
        absent = set(super().missing)
        return [run for run in self.spec.runs() if run in absent]

    @property
    def unmeasured(self) -> list[Measurement]:
        return [m for m in self.spec.measurements() if m not in self.measured]

    def values(self, point: Point, epoch: int) -> list[Values]:
        """Of an α after an epoch: an entry for each seed that is measured."""
        (first, *_) = at = self.spec.points_at(epoch)
        own = point if point in at else first
        wanted = [self.spec.measurement(own, seed, epoch) for seed in self.spec.seeds]
        return [self.measured[m] for m in wanted if m in self.measured]

    def numbers(self, point: Point, epoch: int, name: str) -> list[float]:
        """One value of ``values``, where it was measured; of a list its first."""
        found = [values[name] for values in self.values(point, epoch) if name in values]
        return [value[0] if isinstance(value, list) else value for value in found]

    @property
    def folder(self) -> Path:
        return folder_of(self.root, self.spec)


def folder_of(root: str | Path, spec: WhySpec) -> Path:
    return Path(root, "studies", spec.name)


def collect(
    spec: WhySpec,
    root: str | Path,
    command: str,
    wanted: Wanted | None = None,
    unrecorded: Mapping[str, Any] = {},
    measurer: Callable[[], Measurer] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> WhyResult:
    """Read the records, and what was measured of them; measure what was not.

    Args:
        measurer: makes what measures, when something is to be; None measures nothing.
        say: told what is about to be measured.

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
        StudyError: what is stored cannot be read.
    """
    runs = {point: [spec.run(point, seed) for seed in spec.seeds] for point in spec.points()}
    read, warnings = read_series(runs, root, wanted, unrecorded)
    warnings += said_of_diverged(read.values())
    points = {
        point: SeedsResult(its.finished, its.missing, diverged=its.diverged)
        for point, its in read.items()
    }
    finished = {f.run: f for its in read.values() for f in its.finished}
    store, measures = Store(folder_of(root, spec)), None
    entries: dict[Measurement, dict[str, Any]] = {}
    for measurement in spec.measurements():
        if any(run not in finished for run in measurement.runs):
            continue
        its_runs = [finished[run] for run in measurement.runs]
        entry = store.find(measurement, its_runs)
        if entry is None and measurer is not None:
            say(measurement.name)
            measures = measures or measurer()
            try:
                values = measures(measurement, its_runs)
            except UserError as error:
                warnings.append(f"{measurement.name} was not measured: {error}")
                continue
            entry = store.add(measurement, its_runs, values, measures.made)
        if entry is not None:
            entries[measurement] = entry
    measured = {measurement: entry["values"] for measurement, entry in entries.items()}
    made = {measurement: entry["made"] for measurement, entry in entries.items()}
    return WhyResult(spec, Path(root), warnings, command, points, measured, made)


__all__ = ["Measurer", "WhyResult", "collect", "folder_of"]
