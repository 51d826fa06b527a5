"""A cell's runs and their numbers."""

from dataclasses import dataclass
from functools import cached_property

from gnp.jobs import SeedsResult
from gnp.statistics import Statistic
from gnp.statistics.agreement import Agreement
from gnp.tables.predictions import Judged
from gnp.tables.published import Published
from gnp.tables.spec import Cell


@dataclass(frozen=True)
class CellResult(SeedsResult):
    """A cell's runs.

    Attributes:
        error_of: the epoch whose error is compared, "last" or "best".
        published, also_published: the values of the two files that the part names.
        judged: the predictions of each finished run, of the last epoch; None where it has none.
    """

    cell: Cell
    published: Published | None
    error_of: str
    judged: tuple[Judged | None, ...]
    also_published: Published | None = None

    @cached_property
    def by_seed(self) -> dict[int, int]:
        """Seed → place in ``finished``."""
        return {f.summary["seed"]: place for place, f in enumerate(self.finished)}

    @cached_property
    def errors(self) -> list[float]:
        """The errors (%) that are compared, one a finished seed."""
        return [f.error if self.error_of == "last" else f.best_error for f in self.finished]

    @cached_property
    def losses(self) -> list[float]:
        """NLL (nats) of the last epoch's weights on the evaluated images, one a finished seed: the
        loss of the evaluation, which is never smoothed, or that of the predictions. Empty where a
        run has neither."""
        losses = [
            f.summary["final"].get(f.loss_name, judged and judged.nll)
            for f, judged in zip(self.finished, self.judged, strict=True)
        ]
        return [] if None in losses else losses

    @cached_property
    def nll(self) -> Statistic | None:
        return Statistic.of(self.losses)

    @cached_property
    def calibration_error(self) -> Statistic | None:
        """Over the runs that have predictions."""
        return Statistic.of([j.calibration_error for j in self.judged if j is not None])

    @cached_property
    def best(self) -> Statistic | None:
        return Statistic.of([f.best_error for f in self.finished])

    @property
    def difference(self) -> float | None:
        """Ours minus the published mean, in percentage points."""
        if self.error is None or self.published is None:
            return None
        return self.error.mean - self.published.error

    @cached_property
    def agreement(self) -> Agreement | None:
        """With the published value."""
        if self.error is None or self.published is None:
            return None
        return Agreement.of(self.error, self.published.error, self.published.std)
