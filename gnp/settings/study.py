"""The settings of a parameter study: r × α × seeds."""

import math
from typing import ClassVar

from pydantic import ConfigDict, field_validator, model_validator

from gnp.errors import UserError
from gnp.settings.section import expected, setting
from gnp.settings.series import Series
from gnp.settings.texts import FolderName, FolderNames

SHORTEST = 1e-12  # below it a climb changes no float


class StudyError(UserError, ValueError):
    """A study's config is not what a study needs."""


class StudySettings(Series):
    """A study. r and α are sorted, and each of their values is listed once."""

    kind: ClassVar[str] = "study"
    error: ClassVar[type[UserError]] = StudyError
    model_config = ConfigDict(allow_inf_nan=True)  # refused below, with what is expected instead

    experiment: FolderNames = setting(help="one of configs/experiment")
    dataset: FolderName = setting(help="one of configs/dataset")
    augmentation: FolderName = setting(help="one of configs/augmentation")
    r: list[float] = setting([], "lengths of the climb", expected="lengths above 0, such as 0.1")
    alpha: list[float] = setting(
        [], "weights of the penalty", expected="values from 0 (the standard scheme) to 1 (SAM)"
    )

    @field_validator("r", "alpha")
    @classmethod
    def _sorted(cls, values: list[float]) -> list[float]:
        return sorted(values)

    @model_validator(mode="after")
    def _is_a_grid(self) -> "StudySettings":
        for name in ("r", "alpha", "seeds"):
            self._refuse_empty_or_twice(name, [number(value) for value in getattr(self, name)])
        if 0 in self.r:
            raise self._wrong(
                "r has 0, which is the standard scheme for every α; leave it out and list 0 in "
                "alpha instead"
            )
        outside = {
            "r": [r for r in self.r if not SHORTEST <= r < math.inf],
            "alpha": [alpha for alpha in self.alpha if not 0 <= alpha <= 1],
        }
        for name, values in outside.items():
            if values:
                wanted = expected(type(self).model_fields[name])
                raise self._wrong(f"{name} has {values[0]:g}; expected {wanted}")
        return self


def number(value: float) -> str:
    """ "0.3", also of 0.1 + 0.2; "1" of 1.0. So values are named, told to a run and compared."""
    return f"{value:.12g}"
