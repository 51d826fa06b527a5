"""What a parameter study consists of: r × α × seeds, as ``configs/study/*.yaml`` say."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gnp.jobs.job import Job
from gnp.settings import path_of
from gnp.settings.overrides import override
from gnp.settings.run import Config
from gnp.settings.study import StudySettings, number


@dataclass(frozen=True)
class Point:
    """A point of the grid. α = 0 is the standard scheme, whatever r is, and has r = 0 here."""

    r: float
    alpha: float

    @property
    def method(self) -> str:
        """Its runs' folder: "gnp_r0.03_alpha0.8", "gnp_alpha0"."""
        radius = "" if self.alpha == 0 else f"_r{number(self.r)}"
        return f"gnp{radius}_alpha{number(self.alpha)}"

    def settings(self) -> list[str]:
        """Every point, α = 0 and 1 too, is ``optimizer=gnp`` and so has the gnp recipe's learning
        rate and decay: what differs between points is r and α alone."""
        return [
            "optimizer=gnp",
            f"optimizer.r={number(self.r)}",
            f"optimizer.alpha={number(self.alpha)}",
            f"method={self.method}",
        ]


class StudySpec(StudySettings):
    """A study's settings, and which points and runs they make."""

    def point(self, r: float, alpha: float) -> Point:
        return Point(0.0 if alpha == 0 else r, alpha)

    def points(self) -> list[Point]:
        """Each point that is trained, once: α by α, r by r."""
        return list(dict.fromkeys(self.point(r, alpha) for alpha in self.alpha for r in self.r))

    def run(self, point: Point, seed: int) -> "Run":
        return Run(self.experiment, self.dataset, self.augmentation, point, seed)

    def runs(self) -> Iterator["Run"]:
        """Seed by seed, so that a study that is stopped early has every point at least once."""
        for seed in self.seeds:
            for point in self.points():
                yield self.run(point, seed)


@dataclass(frozen=True)
class Run(Job):
    """A point with a seed: one training. Studies that share it train it once."""

    experiment: str
    dataset: str
    augmentation: str
    point: Point
    seed: int

    @property
    def path(self) -> Path:
        names = (self.experiment, self.dataset, self.augmentation, self.point.method)
        return Path(path_of(*names, self.seed))

    def settings(self) -> list[str]:
        return [
            override("experiment", self.experiment),
            override("dataset", self.dataset),
            override("augmentation", self.augmentation),
            *self.point.settings(),
            f"seed={self.seed}",
        ]

    def change_in(self, config: Config) -> str:
        now = (number(config.optimizer.r), number(config.optimizer.alpha))
        if now == (number(self.point.r), number(self.point.alpha)):
            return ""
        return f" with r={now[0]} and alpha={now[1]}"
