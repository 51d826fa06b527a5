"""From run records to the numbers of a parameter study."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnp.jobs import (
    SeedsResult,
    SeriesResult,
    Wanted,
    differences,
    read_series,
    said_of_diverged,
)
from gnp.statistics import is_lowest
from gnp.studies.grid import Point, Run, StudySpec


@dataclass(frozen=True)
class PointResult(SeedsResult):
    """A point's runs."""

    point: Point


@dataclass(frozen=True)
class StudyResult(SeriesResult):
    """A study's points with what the records say of them."""

    spec: StudySpec
    points: dict[Point, PointResult]

    @property
    def results(self) -> Collection[PointResult]:
        return self.points.values()

    def at(self, r: float, alpha: float) -> PointResult:
        """Of the grid; at α = 0 the same for every r."""
        return self.points[self.spec.point(r, alpha)]

    @property
    def missing(self) -> list[Run]:
        """In the order in which they are trained."""
        absent = set(super().missing)
        return [run for run in self.spec.runs() if run in absent]

    def is_best(self, result: PointResult) -> bool:
        """Whether it has the lowest mean of all points."""
        return is_lowest(result.error, (other.error for other in self.points.values()))


def collect(
    spec: StudySpec,
    root: str | Path,
    command: str | None = None,
    wanted: Wanted | None = None,
    unrecorded: Mapping[str, Any] = {},
) -> StudyResult:
    """Read the records of all runs of a study; ``command`` is printed as what made it.

    Records that are damaged, or were made with another config than ``wanted``, are left out and
    named in ``warnings``. Without ``wanted`` all runs are compared with one another, but for r, α
    and seed. ``unrecorded`` is what a record that does not name a setting was made with.

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
    """
    root = Path(root)
    command = command or f"python scripts/parameter_study.py study={spec.name} root={root}"
    runs = {point: [spec.run(point, seed) for seed in spec.seeds] for point in spec.points()}
    read, warnings = read_series(runs, root, wanted, unrecorded)
    warnings += said_of_diverged(read.values())
    points = {
        point: PointResult(records.finished, records.missing, point, diverged=records.diverged)
        for point, records in read.items()
    }
    if wanted is None:
        finished = [f for result in points.values() for f in result.finished]
        warnings += differences(finished, _without_identity, unrecorded)
    return StudyResult(spec, root, warnings, command, points)


def _without_identity(config: dict[str, Any]) -> dict[str, Any]:
    """Without what makes a run its point and seed."""
    optimizer = {k: v for k, v in config.get("optimizer", {}).items() if k not in ("r", "alpha")}
    return {**config, "optimizer": optimizer, "method": None, "seed": None}
