"""From run records to the numbers of a parameter study."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnp.studies.grid import Point, Run, StudySpec
from gnp.tables.collect import Statistic
from gnp.tracking.record import config_difference, read_config, read_summary


@dataclass(frozen=True)
class PointResult:
    """A point's errors (%, of the last epoch's weights) in the order of the seeds, and the seeds
    that are missing."""

    point: Point
    errors: list[float]
    missing: list[Run]

    @cached_property
    def error(self) -> Statistic | None:
        return Statistic.of(self.errors)


@dataclass(frozen=True)
class StudyResult:
    """A study's points with what the records under ``root`` say of them."""

    spec: StudySpec
    root: Path
    points: dict[Point, PointResult]
    evaluated: str  # "test", or "validation" where images were held out for it
    warnings: list[str]
    command: str

    def at(self, r: float, alpha: float) -> PointResult:
        """Of the grid; at α = 0 the same for every r."""
        return self.points[self.spec.point(r, alpha)]

    @property
    def missing(self) -> list[Run]:
        """In the order in which they are trained."""
        absent = {run for result in self.points.values() for run in result.missing}
        return [run for run in self.spec.runs() if run in absent]

    def is_best(self, result: PointResult) -> bool:
        """Whether it has the lowest mean of all points (ties share it)."""
        means = [other.error.mean for other in self.points.values() if other.error]
        return result.error is not None and len(means) > 1 and result.error.mean == min(means)


def collect(
    spec: StudySpec,
    root: str | Path,
    command: str | None = None,
    defaults: Mapping[str, Any] = {},
) -> StudyResult:
    """Read the records of all runs of a study; ``command`` is printed as what made it.

    Runs whose configs differ in more than r, α and seed are reported in ``warnings``;
    ``defaults`` is what a record that does not name a setting was made with.
    """
    root = Path(root)
    command = command or f"python scripts/parameter_study.py study={spec.name} root={root}"
    points, configs, splits = {}, {}, set()
    for point in spec.points():
        errors, missing = [], []
        for run in (spec.run(point, seed) for seed in spec.seeds):
            folder = run.folder(root)
            summary = read_summary(folder)
            if summary is None:
                missing.append(run)
                continue
            splits.add(summary["evaluated"])
            errors.append(summary["final"][f"{summary['evaluated']}_error"])
            configs[run] = _without_identity(read_config(folder) or {})
        points[point] = PointResult(point, errors, missing)
    first = next(iter(configs), None)
    warnings = [
        f"{run.path} and {first.path} differ: {'; '.join(difference)}"
        for run, config in configs.items()
        if (difference := config_difference(configs[first], config, defaults))
    ]
    evaluated = " and ".join(sorted(splits)) or "test"
    return StudyResult(spec, root, points, evaluated, warnings, command)


def _without_identity(config: dict[str, Any]) -> dict[str, Any]:
    """Without what makes a run its point and seed."""
    optimizer = {k: v for k, v in config.get("optimizer", {}).items() if k not in ("r", "alpha")}
    return {**config, "optimizer": optimizer, "method": None, "seed": None}
