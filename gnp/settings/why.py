"""The settings of the studies of why it works: what is measured of which weights."""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from gnp.errors import UserError
from gnp.settings.section import setting
from gnp.settings.series import Series
from gnp.settings.study import SHORTEST, StudyError
from gnp.settings.texts import FolderName, FolderNames

Alpha = Annotated[float, Field(ge=0, le=1)]
Length = Annotated[float, Field(ge=SHORTEST)]
Epoch = Annotated[int, Field(ge=0)]
Precision = Literal["fp64", "fp32", "bf16"]


class WhySettings(Series):
    """Runs that differ in α and the seed, and the epochs whose weights are looked at."""

    kind: ClassVar[str] = "why"
    error: ClassVar[type[UserError]] = StudyError

    measure: Literal["step_length", "geometry", "landscape"] = setting(help="which study this is")
    experiment: FolderNames = setting(help="one of configs/experiment")
    dataset: FolderName = setting(help="one of configs/dataset")
    augmentation: FolderName = setting(help="one of configs/augmentation")
    r: Length = setting(0.1, "length of the climb of the runs that have one")
    alpha: list[Alpha] = setting(
        [], "weights of the penalty: 0 is the standard scheme, 1 is SAM", expected="from 0 to 1"
    )
    epochs: list[Epoch] = setting(
        [], "after which the weights are looked at; 0: the initial ones", expected="at least one"
    )

    @model_validator(mode="after")
    def _lists_each_value_once(self) -> "WhySettings":
        for name in ("alpha", "epochs", "seeds"):
            values = getattr(self, name)
            self._refuse_empty_or_twice(name, [f"{v:g}" if name == "alpha" else v for v in values])
            if name != "seeds" and values != sorted(values):
                raise self._wrong(f"{name} is not in increasing order; sort it")
        return self


class StepLengthSettings(WhySettings):
    """The paper's note on r: the difference that stands for H v, against H v."""

    lengths: list[Length] = setting([], "values of r that are tried", expected="above 0")
    recipes: list[Length] = setting([], "values that recipes have, among them", expected="above 0")
    precisions: list[Precision] = setting(["fp64", "fp32", "bf16"], "of the two gradients")
    batches: int = setting(8, "training batches that each is measured on", ge=1)

    @model_validator(mode="after")
    def _can_be_measured(self) -> "StepLengthSettings":
        self._refuse_empty_or_twice("lengths", [f"{r:g}" for r in self.lengths])
        self._refuse_empty_or_twice("precisions", self.precisions)
        if self.lengths != sorted(self.lengths):
            raise self._wrong("lengths is not in increasing order; sort it")
        if strange := [r for r in self.recipes if r not in self.lengths]:
            raise self._wrong(f"recipes has {strange[0]:g}, which is not among lengths; add it")
        return self


class GeometrySettings(WhySettings):
    """Gradients, curvature and sharpness along training."""

    batches: int = setting(16, "training batches that g1, g2 and H v are measured on", ge=1)
    curvature_images: int = setting(200, "training images that the Hessian is of", ge=1)
    curvature_seeds: int = setting(
        1, "so many of the seeds have eigenvalues and trace, which cost the most", ge=0
    )
    eigenvalues: int = setting(2, "the largest so many", ge=1, le=100)
    trace_probes: int = setting(8, "random vectors that the trace is estimated with", ge=2)
    rho: Length = setting(0.05, "radius of sharpness as SAM has it")
    adaptive_rho: Length = setting(0.5, "radius of sharpness as ASAM has it")
    adaptive_eta: float = setting(0.01, "ASAM's η", ge=0)


def gaps_beyond(steps: int, beyond: float) -> float:
    """Of the gaps between ``steps`` points from −beyond to 1 + beyond, those that lie on each side
    of 0 to 1; from a whole number it is no more than rounding in a study that is allowed."""
    return beyond * (steps - 1) / (1 + 2 * beyond)


class LandscapeSettings(WhySettings):
    """The loss along random directions and between two solutions."""

    directions: int = setting(3, "random directions, the same draws for every solution", ge=1)
    reach: float = setting(1.0, "how far they go, in the solution's own filter norms", gt=0)
    steps: int = setting(
        21, "points of a direction; odd, so that the solution is one of them", ge=3
    )
    line: list[Alpha] = setting([0, 0.8], "α of the two ends of the line", expected="two α")
    line_steps: int = setting(31, "points of the line, its two ends among them", ge=3)
    beyond: float = setting(0.25, "how far the line goes on at both ends, in its length", ge=0)
    test_images: int = setting(1000, "of the evaluated images, on the line", ge=1)

    @model_validator(mode="after")
    def _is_between_two_solutions(self) -> "LandscapeSettings":
        if len(self.line) != 2 or self.line[0] == self.line[1]:
            raise self._wrong("line has to name two different α")
        for alpha in self.line:
            if not any(math.isclose(alpha, other) for other in self.alpha):
                raise self._wrong(f"line has {alpha:g}, which is not in alpha; add it there")
        if len(self.epochs) != 1:
            raise self._wrong("epochs has to name one: that of the solutions")
        return self

    @model_validator(mode="after")
    def _has_points_at_the_solutions(self) -> "LandscapeSettings":
        """Rises and barriers are measured from them."""
        if self.steps % 2 == 0:
            raise self._wrong(
                f"steps={self.steps} has no point at the solution; take {self.steps + 1}"
            )
        gaps, before = self.line_steps - 1, gaps_beyond(self.line_steps, self.beyond)
        if abs(before - round(before)) > 0.01 or 2 * round(before) >= gaps:
            near = {n for n in (math.floor(before), math.ceil(before)) if 2 * n < gaps}
            which = " or ".join(f"{n / (gaps - 2 * n):.6g}" for n in sorted(near))
            raise self._wrong(
                f"line_steps={self.line_steps} with beyond={self.beyond:g} has no points at the "
                f"two solutions; with so many points beyond can be {which}"
            )
        return self
