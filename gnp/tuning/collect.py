"""From run records to the trials of a tuning, and which of them is chosen."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnp.jobs import (
    Job,
    Records,
    SeedsResult,
    SeriesResult,
    Wanted,
    read_series,
)
from gnp.statistics import Statistic
from gnp.tuning.trials import Run, Trial, TuningSpec


@dataclass(frozen=True)
class HeldOut(SeedsResult):
    """Runs of a trial, all on held-out images."""

    @cached_property
    def loss(self) -> Statistic | None:
        """Mean cross-entropy (nats) on the held-out images, of the last epoch's weights."""
        return Statistic.of([f.summary["final"][f.loss_name] for f in self.finished])


@dataclass(frozen=True)
class TrialResult(HeldOut):
    """All runs of a trial: a finalist's final seeds too."""

    trial: Trial
    first: HeldOut  # those of the seeds that every trial has
    final: bool

    @property
    def seeds(self) -> int:
        return len(self.finished) + len(self.missing) + len(self.diverged)

    @property
    def whole_finalist(self) -> bool:
        return self.final and self.whole


@dataclass(frozen=True)
class TuningResult(SeriesResult):
    """A tuning's trials with what the records say of them."""

    spec: TuningSpec
    trials: dict[str, list[TrialResult]]

    @property
    def results(self) -> Collection[TrialResult]:
        return [result for results in self.trials.values() for result in results]

    def ranked(self, method: str) -> list[TrialResult]:
        """The trials of a method whose first seeds are all finished, the chosen one first: whole
        finalists by all their seeds, then the others by the first ones. Where two are equal, the
        earlier trial comes first."""
        tried = [result for result in self.trials[method] if result.first.whole]
        return sorted(tried, key=self._place)

    @cached_property
    def chosen(self) -> dict[str, TrialResult]:
        """{method's folder: its best trial}, of the methods that have a finished one."""
        ranked = {method: self.ranked(method) for method in self.trials}
        return {method: results[0] for method, results in ranked.items() if results}

    def _place(self, result: TrialResult) -> tuple[bool, float, float]:
        whole = result.whole_finalist
        return not whole, *merit(result if whole else result.first, self.spec.choose)

    @property
    def first_round_missing(self) -> list[Job]:
        return [run for result in self.results for run in result.first.missing]

    def runs(self) -> list[Run]:
        """All that are wanted by what the records show: of each finalist all, of each other trial
        those of the first seeds."""
        final = [result.trial for result in self.results if result.final]
        runs = [self.spec.run(trial, seed) for seed in self.spec.final_seeds for trial in final]
        return [*self.spec.runs(), *runs]


def merit(result: HeldOut, choose: str) -> tuple[float, float]:
    """The lower, the better; of runs of which one is finished at least."""
    assert result.error
    assert result.loss
    pair = (result.error.mean, result.loss.mean)
    return pair if choose == "error" else pair[::-1]


def collect(
    spec: TuningSpec,
    root: str | Path,
    command: str | None = None,
    wanted: Wanted | None = None,
    unrecorded: Mapping[str, Any] = {},
    first_round_over: bool = False,
) -> TuningResult:
    """Read the records of all runs of a tuning; ``command`` is printed as what made it.

    Records that are damaged, or were made with another config than ``wanted``, are left out and
    named in ``warnings``. ``unrecorded`` is what a record that does not name a setting was made
    with.

    There are no finalists before the first round is over: none of its runs is missing, one of the
    second round is there, or ``first_round_over`` says so (what is missing has failed).

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
    """
    root = Path(root)
    command = command or f"python scripts/tune.py tuning={spec.name} root={root}"
    trials = [trial for its in spec.trials_of.values() for trial in its]
    seeds = spec.seeds_of(final=True)  # who is a finalist is not known yet
    runs = {trial: [spec.run(trial, seed) for seed in seeds] for trial in trials}
    read, warnings = read_series(runs, root, wanted, unrecorded)
    first = {trial: _of_seeds(read[trial], spec.seeds) for trial in trials}
    over = first_round_over or _is_over(spec, read, first)
    results = {}
    for method, its in spec.trials_of.items():
        tried = [trial for trial in its if first[trial].whole]
        tried.sort(key=lambda trial: merit(first[trial], spec.choose))
        final = set(tried[: spec.finalists if over else 0])
        results[method] = [
            TrialResult(
                **_sorted_out(read[t], spec.seeds_of(t in final)),
                trial=t,
                first=first[t],
                final=t in final,
            )
            for t in its
        ]
    return TuningResult(spec, root, warnings, command, results)


def _is_over(
    spec: TuningSpec, read: Mapping[Trial, Records], first: Mapping[Trial, HeldOut]
) -> bool:
    finals = [_of_seeds(records, spec.final_seeds) for records in read.values()]
    begun = any(final.finished or final.diverged for final in finals)
    return begun or not any(one.missing for one in first.values())


def _of_seeds(records: Records, seeds: Collection[int]) -> HeldOut:
    return HeldOut(**_sorted_out(records, seeds))


def _sorted_out(records: Records, seeds: Collection[int]) -> dict[str, list[Any]]:
    """Those of the seeds, as a ``HeldOut`` has them."""
    return {
        "finished": [f for f in records.finished if f.run.seed in seeds],
        "missing": [run for run in records.missing if run.seed in seeds],
        "diverged": [one for one in records.diverged if one.run.seed in seeds],
    }
