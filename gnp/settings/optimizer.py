"""The settings of an optimizer: the base that takes the step, and the penalty around it."""

from typing import Any, Literal

from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from gnp.settings.section import Section, setting
from gnp.settings.texts import FolderName

# The configs without a penalty, and what would have no effect or make them another method.
STANDARD = ("sgd", "adamw")
STANDARD_HAS = {"r": 0, "alpha": 0, "adaptive": False, "reference_fraction": 1}
STANDARD_HAS |= {"direction_every": 1}


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
                    wrong = (
                        f"optimizer.{name} is {value:g}, which optimizer={self.name}, the standard "
                        f"scheme, does not have; use optimizer=gnp or sam with base={self.name}"
                    )
        elif self.name == "sam" and self.alpha != 1:
            wrong = f"optimizer.alpha is {self.alpha:g}, and SAM is alpha=1; use optimizer=gnp"
        if (self.penalty_warmup == "none") != (self.penalty_warmup_epochs == 0):
            wrong = (
                f"optimizer.penalty_warmup is {self.penalty_warmup} with "
                f"optimizer.penalty_warmup_epochs={self.penalty_warmup_epochs}; set both or neither"
            )
        if wrong is not None:
            raise PydanticCustomError("custom", "{what}", {"what": wrong})
        return self
