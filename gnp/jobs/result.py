"""What a table's and a study's results have in common."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gnp.jobs.finished import DivergedRun, FinishedRun
from gnp.jobs.job import Job
from gnp.settings.series import Series
from gnp.statistics import Statistic


@dataclass(frozen=True)
class SeedsResult:
    """Runs that differ in the seed alone, in the order of the seeds: those that are finished, those
    that are missing, and those that diverged."""

    finished: list[FinishedRun]
    missing: list[Job]
    diverged: list[DivergedRun] = field(default_factory=list, kw_only=True)

    @property
    def whole(self) -> bool:
        """Whether every run is finished."""
        return not self.missing and not self.diverged

    @cached_property
    def errors(self) -> list[float]:
        """The errors (%) that are compared, one a finished seed: the last epoch's weights'."""
        return [f.error for f in self.finished]

    @cached_property
    def error(self) -> Statistic | None:
        return Statistic.of(self.errors)

    @cached_property
    def fit(self) -> Statistic | None:
        """Error (%) on the training images, without augmentation and dropout."""
        return Statistic.of([f.summary["final"]["fit_error"] for f in self.finished])


@dataclass(frozen=True)
class SeriesResult:
    """A table or a study with what the records under ``root`` say of it. ``command`` is printed as
    what made it."""

    spec: Series
    root: Path
    warnings: list[str]
    command: str

    @property
    def results(self) -> Collection[SeedsResult]:
        """Each once, in the order in which they are printed."""
        raise NotImplementedError

    @property
    def missing(self) -> list[Job]:
        return [run for result in self.results for run in result.missing]

    @property
    def diverged(self) -> list[DivergedRun]:
        return [one for result in self.results for one in result.diverged]

    @property
    def missing_commands(self) -> list[str]:
        return [run.command(self.root, self.spec.overrides) for run in self.missing]

    @property
    def evaluated(self) -> str:
        """What the errors are of: "test", or "validation" where images were held out for it."""
        splits = {f.summary["evaluated"] for result in self.results for f in result.finished}
        return " and ".join(sorted(splits)) or "test"
