"""What a parameter study consists of: r × α × seeds, as ``configs/study/*.yaml`` say."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gnp.errors import UserError
from gnp.tables.spec import Training


class StudyError(UserError, ValueError):
    """A study's config is not what a study needs."""


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


@dataclass(frozen=True)
class StudySpec:
    """A study. ``note`` is printed with it: what the numbers are and are not.

    ``overrides`` are settings that every run of the study gets.
    """

    name: str = "???"
    title: str = "???"
    note: str = "???"
    experiment: str = "???"
    dataset: str = "???"
    augmentation: str = "???"
    r: list[float] = field(default_factory=list)
    alpha: list[float] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "StudySpec":
        """Raises StudyError for a missing, unknown or ill-typed entry, an empty list, a value that
        is listed twice, an r that is not above 0 or an α outside 0 to 1. Sorts r and α."""
        try:
            merged = OmegaConf.merge(OmegaConf.structured(cls), config)
            OmegaConf.to_container(merged, resolve=True, throw_on_missing=True)
            spec = OmegaConf.to_object(merged)
        except OmegaConfBaseException as error:
            first_line = str(error).split("\n", 1)[0]
            raise StudyError(f"study.{getattr(error, 'full_key', '')}: {first_line}") from error
        spec._check()
        return replace(spec, r=sorted(spec.r), alpha=sorted(spec.alpha))

    def _check(self) -> None:
        for name in ("r", "alpha", "seeds"):
            values = [number(value) for value in getattr(self, name)]
            if not values:
                raise StudyError(f"study {self.name}: {name} is empty; list at least one value")
            if twice := next((v for v in values if values.count(v) > 1), None):
                raise StudyError(f"study {self.name}: {name} lists {twice} twice; list it once")
        for r in self.r:
            if r == 0:
                raise StudyError(
                    f"study {self.name}: r has 0, which is the standard scheme for every α; leave "
                    f"it out and list 0 in alpha instead"
                )
            if not 0 < r < math.inf:
                raise StudyError(
                    f"study {self.name}: r has {r:g}; expected lengths above 0, such as 0.1"
                )
        for alpha in self.alpha:
            if not 0 <= alpha <= 1:
                raise StudyError(
                    f"study {self.name}: alpha has {alpha:g}; expected values from 0 (the standard "
                    f"scheme) to 1 (SAM)"
                )

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
class Run(Training):
    """A point with a seed: one training. Studies that share it train it once."""

    experiment: str
    dataset: str
    augmentation: str
    point: Point
    seed: int

    @property
    def path(self) -> Path:
        place = f"{self.dataset}-{self.augmentation}"
        return Path(self.experiment, place, self.point.method, f"seed{self.seed}")

    def settings(self) -> list[str]:
        return [
            f"experiment={self.experiment}",
            f"dataset={self.dataset}",
            f"augmentation={self.augmentation}",
            *self.point.settings(),
            f"seed={self.seed}",
        ]

    def change_in(self, optimizer: Any) -> str:
        now = (number(optimizer.r), number(optimizer.alpha))
        if now == (number(self.point.r), number(self.point.alpha)):
            return ""
        return f" with r={now[0]} and alpha={now[1]}"


def number(value: float) -> str:
    """ "0.3", also of 0.1 + 0.2; "1" of 1.0. So values are named, told to a run and compared."""
    return f"{value:.12g}"
