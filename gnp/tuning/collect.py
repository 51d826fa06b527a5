"""From run records to the trials of a tuning, and which of them is chosen."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnp.jobs import SeedsResult, SeriesResult, Wanted, read_series
from gnp.statistics import Statistic
from gnp.tuning.trials import Trial, TuningSpec


@dataclass(frozen=True)
class TrialResult(SeedsResult):
    """A trial's runs, all on held-out images."""

    trial: Trial

    @cached_property
    def loss(self) -> Statistic | None:
        """Mean cross-entropy (nats) on the held-out images, of the last epoch's weights."""
        return Statistic.of([f.summary["final"][f.loss_name] for f in self.finished])


@dataclass(frozen=True)
class TuningResult(SeriesResult):
    """A tuning's trials with what the records say of them."""

    spec: TuningSpec
    trials: dict[str, list[TrialResult]]

    @property
    def results(self) -> Collection[TrialResult]:
        return [result for results in self.trials.values() for result in results]

    def ranked(self, method: str) -> list[TrialResult]:
        """The trials of a method that all seeds are finished of, the chosen one first. Where two
        are equal, the earlier trial comes first."""
        whole = [result for result in self.trials[method] if not result.missing]
        return sorted(whole, key=self._merit)

    @cached_property
    def chosen(self) -> dict[str, TrialResult]:
        """{method's folder: its best trial}, of the methods that have a finished one."""
        ranked = {method: self.ranked(method) for method in self.trials}
        return {method: results[0] for method, results in ranked.items() if results}

    def _merit(self, result: TrialResult) -> tuple[float, float]:
        assert result.error  # a whole trial has a finished seed
        assert result.loss
        pair = (result.error.mean, result.loss.mean)
        return pair if self.spec.choose == "error" else pair[::-1]


def collect(
    spec: TuningSpec,
    root: str | Path,
    command: str | None = None,
    wanted: Wanted | None = None,
    unrecorded: Mapping[str, Any] = {},
) -> TuningResult:
    """Read the records of all runs of a tuning; ``command`` is printed as what made it.

    Records that are damaged, or were made with another config than ``wanted``, are left out and
    named in ``warnings``. ``unrecorded`` is what a record that does not name a setting was made
    with.

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
    """
    root = Path(root)
    command = command or f"python scripts/tune.py tuning={spec.name} root={root}"
    runs = {
        trial: [spec.run(trial, seed) for seed in spec.seeds]
        for trials in spec.trials_of.values()
        for trial in trials
    }
    read, warnings = read_series(runs, root, wanted, unrecorded)
    trials = {
        method: [TrialResult(read[t].finished, read[t].missing, t) for t in its]
        for method, its in spec.trials_of.items()
    }
    return TuningResult(spec, root, warnings, command, trials)
