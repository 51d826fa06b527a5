"""Which settings a tuning tries: method × trial × seeds, as ``configs/tuning/*.yaml`` say."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gnp.jobs.job import Job
from gnp.settings import Config, path_of
from gnp.settings.overrides import override
from gnp.settings.study import number
from gnp.settings.tuning import NAMES, Range, TunedMethod, TuningError, TuningSettings

DIGITS = 3  # that a value has: more would only make its name longer


@dataclass(frozen=True)
class Trial:
    """A method with values for what is tuned. ``index`` counts from 0 in each method."""

    name: str  # the method's folder in a table
    optimizer: str
    further: tuple[str, ...]  # the method's own settings
    index: int
    values: tuple[tuple[str, float], ...]

    @property
    def method(self) -> str:
        """Its runs' folder: "tune_sam_lr0.05_weight_decay0.0005_r0.03"."""
        return "_".join(["tune", self.name, *(f"{n}{number(v)}" for n, v in self.values)])

    @property
    def chosen_settings(self) -> list[str]:
        """What makes a run of the optimizer one of this trial."""
        return [*self.further, *(f"optimizer.{name}={number(v)}" for name, v in self.values)]

    def settings(self) -> list[str]:
        return [
            override("optimizer", self.optimizer),
            *self.chosen_settings,
            override("method", self.method),
        ]


class TuningSpec(TuningSettings):
    """A tuning's settings, and which trials and runs they make."""

    @cached_property
    def trials_of(self) -> dict[str, list[Trial]]:
        """{method's folder: its trials}. The sequence is Halton's, scrambled (Owen 2017), one
        coordinate a name: methods with equal ranges have equal values, trial by trial.

        Raises:
            TuningError: two trials of a method have the same values, rounded as they are.
        """
        from scipy.stats import qmc  # takes a third of a second

        points = qmc.Halton(len(NAMES), scramble=True, rng=self.sequence_seed).random(self.trials)
        trials = {
            method.folder: [
                Trial(
                    method.folder,
                    method.optimizer,
                    tuple(method.further),
                    index,
                    _values(method, point),
                )
                for index, point in enumerate(points.tolist())
            ]
            for method in self.methods
        }
        for method, its in trials.items():
            if (different := len({trial.method for trial in its})) < len(its):
                raise TuningError(
                    f"tuning {self.name}: methods, {method}: {len(its)} trials have {different} "
                    f"different settings, because values have {DIGITS} digits; widen a range, or "
                    f"take fewer trials"
                )
        return trials

    def run(self, trial: Trial, seed: int) -> "Run":
        sizes = (self.validation_per_class, self.train_per_class)
        return Run(self.experiment, self.dataset, self.augmentation, sizes, trial, seed)

    def seeds_of(self, final: bool) -> list[int]:
        """All seeds of a trial; ``final``: it is a finalist."""
        return [*self.seeds, *self.final_seeds] if final else self.seeds

    def runs(self) -> Iterator["Run"]:
        """Of the seeds that all trials have. Trial by trial, so that a tuning that is stopped early
        has given each method as many."""
        for trials in zip(*self.trials_of.values(), strict=True):
            for trial in trials:
                for seed in self.seeds:
                    yield self.run(trial, seed)


@dataclass(frozen=True)
class Run(Job):
    """A trial with a seed: one training, on a part of the training images."""

    experiment: str
    dataset: str
    augmentation: str
    sizes: tuple[int, int | None]
    trial: Trial
    seed: int

    @property
    def path(self) -> Path:
        names = (self.experiment, self.dataset, self.augmentation, self.trial.method)
        return Path(path_of(*names, self.seed))

    def settings(self) -> list[str]:
        held_out, trained = self.sizes
        return [
            override("experiment", self.experiment),
            override("dataset", self.dataset),
            override("augmentation", self.augmentation),
            *self.trial.settings(),
            f"dataset.validation_per_class={held_out}",
            f"dataset.train_per_class={'null' if trained is None else trained}",
            f"seed={self.seed}",
        ]

    def change_in(self, config: Config) -> str:
        """Values that are tuned, and how many images are held out: with none, test images would be
        chosen by."""
        dataset = config.dataset
        sizes = (dataset.validation_per_class, dataset.train_per_class)
        now = [(name, number(getattr(config.optimizer, name))) for name, _ in self.trial.values]
        if now == [(name, number(value)) for name, value in self.trial.values]:
            if sizes == self.sizes:
                return ""
            now = [("validation_per_class", str(sizes[0])), ("train_per_class", str(sizes[1]))]
        return " with " + ", ".join(f"{name}={value}" for name, value in now)


def _values(method: TunedMethod, point: list[float]) -> tuple[tuple[str, float], ...]:
    return tuple(
        (name, _within(method.ranges[name], share))
        for name, share in zip(NAMES, point, strict=True)
        if name in method.ranges
    )


def _within(its: Range, share: float) -> float:
    """The value at that share, to ``DIGITS`` digits."""
    return min(max(float(f"{its.at(share):.{DIGITS}g}"), its.low), its.high)
