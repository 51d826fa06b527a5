"""The settings of an optimizer: the base that takes the step, and the penalty around it."""

import math
from typing import Any, Literal

from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from gnp.settings.section import Section, setting
from gnp.settings.texts import FolderName

# The configs without a penalty, and what would have no effect or make them another method.
STANDARD = ("sgd", "adamw")
STANDARD_HAS = {"r": 0, "alpha": 0, "adaptive": False, "reference_fraction": 1}
STANDARD_HAS |= {"direction_every": 1, "climb_only_norms": False, "climb_along": "gradient"}
STANDARD_HAS |= {"probability": 1, "penalty_start": 0}


def epochs_before_penalty(penalty_start: float, epochs: int) -> int:
    """Whole epochs that a run of so many trains before its penalty begins: at least one is left.

    Args:
        penalty_start: their share, from 0 to below 1.
    """
    return math.floor(penalty_start * epochs + 1e-9)  # 0.29 · 100 is a little below 29


class OptimizerSettings(Section):
    name: FolderName = setting(help="its name, which is the method's unless method says another")
    base: dict[str, Any] = setting(
        {}, "the optimizer that is wrapped: _target_ names its class, the others are its arguments"
    )
    lr: float = setting(
        0.1,
        "the largest learning rate, at the start or after a warm-up; it falls as a cosine to 0",
        gt=0,
    )
    weight_decay: float = setting(0.0, "pull of each weight to 0, in proportion to it", ge=0)
    r: float = setting(0.0, "length of the climb to where the second gradient is taken", ge=0)
    alpha: float = setting(
        0.0,
        "share of the second gradient in the mix: 0 is the base optimizer, 1 is SAM",
        ge=0,
        le=1,
    )
    normalize_reference: bool = setting(False, "mix g1/‖g1‖ in place of g1")
    weight_decay_in: Literal["update", "loss"] = setting(
        "update", "the base optimizer's decay, or an L2 term in the loss that both gradients see"
    )
    decay_norms_and_biases: bool = setting(
        True, "decay what has one dimension too: biases, and the scales of normalisations"
    )
    epsilon: float = setting(0.0, "added to the norm that the climb is divided by", ge=0)
    batch_statistics: Literal["first", "both"] = setting(
        "first", "the passes that running statistics count"
    )
    replay_draws: bool = setting(True, "both passes have the same dropout and shake draws")
    true_gradient: bool = setting(
        False, "shake layers go both ways with the same coefficients in the first pass of two"
    )
    penalty_warmup: Literal["none", "zero", "r", "lambda"] = setting(
        "none", "at first no penalty (zero), or r or λ = α·r grows linearly"
    )
    penalty_warmup_epochs: int = setting(0, "length of the penalty's warm-up", ge=0)
    penalty_start: float = setting(
        0.0,
        "share of the epochs that come before the penalty: 0.9375 of 160 leaves it the last 10",
        ge=0,
        lt=1,
    )
    probability: float = setting(
        1.0, "of a step to have the penalty; the others are the base optimizer's", ge=0, le=1
    )
    climb_only_norms: bool = setting(
        False, "climb in the scales and shifts of normalisation layers alone (SAM-ON)"
    )
    climb_along: Literal["gradient", "momentum"] = setting(
        "gradient", "or the base optimizer's momentum: MSAM, one gradient a step"
    )
    adaptive: bool = setting(
        False, "ASAM's climb, in proportion to the weights (arXiv 2102.11600); r is 0.5 to 2 there"
    )
    adaptive_eta: float = setting(0.01, "added to the weights' sizes in that climb", ge=0)
    reference_fraction: float = setting(
        1.0,
        "take g1 on a part of the batch: with 0.25 a step costs 1.25 plain ones in place of 2",
        expected="1, 1/2 (0.5), 1/3 (0.333), 1/4, …",
        gt=0,
        le=1,
    )
    direction_every: int = setting(
        1,
        "steps that climb in one direction; those after the first take one gradient",
        expected="≥ 1",
        ge=1,
    )

    @field_validator("reference_fraction")
    @classmethod
    def _is_of_every_kth_image(cls, value: float) -> float:
        """1/k for a whole k. 0.333 counts as a third."""
        if abs(1 / value - round(1 / value)) >= 0.01:
            raise ValueError("not 1/k")
        return value

    @property
    def reference_every(self) -> int:
        """g1 is of every so many-th image: 1/reference_fraction."""
        return round(1 / self.reference_fraction)

    @model_validator(mode="after")
    def _is_what_it_is_called(self) -> "OptimizerSettings":
        wrong = None
        if self.name in STANDARD:
            for name, off in STANDARD_HAS.items():
                if (value := getattr(self, name)) != off:
                    shown = value if isinstance(value, str) else f"{value:g}"
                    wrong = (
                        f"optimizer.{name} is {shown}, which optimizer={self.name}, the standard "
                        f"scheme, does not have; use optimizer=gnp or sam with base={self.name}"
                    )
        elif self.name == "sam" and self.alpha != 1:
            wrong = f"optimizer.alpha is {self.alpha:g}, and SAM is alpha=1; use optimizer=gnp"
        if (self.penalty_warmup == "none") != (self.penalty_warmup_epochs == 0):
            wrong = (
                f"optimizer.penalty_warmup is {self.penalty_warmup} with "
                f"optimizer.penalty_warmup_epochs={self.penalty_warmup_epochs}; set both or neither"
            )
        wrong = wrong or self._what_does_not_go_together()
        if wrong is not None:
            raise PydanticCustomError("custom", "{what}", {"what": wrong})
        return self

    def _what_does_not_go_together(self) -> str | None:
        if self.penalty_start > 0 and self.penalty_warmup != "none":
            return (
                f"optimizer.penalty_start={self.penalty_start:g} and optimizer.penalty_warmup="
                f"{self.penalty_warmup} both say how the penalty begins; set one of them"
            )
        if self.probability < 1 and self.direction_every > 1:
            return (
                f"optimizer.probability={self.probability:g} does not go with "
                f"optimizer.direction_every={self.direction_every}; set one of them to 1"
            )
        if self.climb_along == "gradient":
            return None
        for name, off in {
            "direction_every": 1,
            "reference_fraction": 1,
            "normalize_reference": False,
        }.items():
            if getattr(self, name) != off:
                return (
                    f"optimizer.climb_along=momentum takes no gradient at the weights, which "
                    f"optimizer.{name} is about; set optimizer.{name}={str(off).lower()}"
                )
        return None
