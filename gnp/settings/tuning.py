"""The settings of a tuning: for each method so many settings within stated ranges."""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from gnp.errors import UserError
from gnp.settings.overrides import parsed
from gnp.settings.section import Section, setting
from gnp.settings.series import Series
from gnp.settings.table import Method
from gnp.settings.texts import FolderName, FolderNames

# What can be tuned, in the order of the sequence's coordinates: a fifth must come last.
NAMES = ("lr", "weight_decay", "r", "alpha")
Name = Literal["lr", "weight_decay", "r", "alpha"]
MOST_TRIALS = 1000


class TuningError(UserError, ValueError):
    """A tuning's config is not what a tuning needs."""


class Range(Section):
    """Where a setting's values lie: evenly in the logarithm, or evenly."""

    low: float = setting(help="the lowest value", ge=0)
    high: float = setting(help="the highest value", ge=0)
    log: bool = setting(True, "evenly in the logarithm")

    def at(self, share: float) -> float:
        """The value at a share of the way from low to high, from 0 to 1."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        value = low + share * (high - low)
        return math.exp(value) if self.log else value

    def share_of(self, value: float) -> float:
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(value) - low) / (high - low)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


class TunedMethod(Method):
    """A table's method, and what of it is tuned."""

    ranges: dict[Name, Range] = setting({}, "of lr, weight_decay, r or alpha")


class TuningSettings(Series):
    """A tuning. Every method gets ``trials`` settings, and every setting all seeds; the best
    ``finalists`` of each method get ``final_seeds`` too, before one of them is chosen."""

    kind: ClassVar[str] = "tuning"
    error: ClassVar[type[UserError]] = TuningError

    experiment: FolderNames = setting(help="one of configs/experiment: the recipe to begin with")
    dataset: FolderName = setting(help="one of configs/dataset")
    augmentation: FolderName = setting(help="one of configs/augmentation")
    validation_per_class: int = setting(
        100, "training images of each class that are held out, and chosen by", ge=1
    )
    train_per_class: Annotated[int, Field(ge=1)] | None = setting(
        None, "training images of each class; null: all that are not held out"
    )
    trials: int = setting(16, "settings of each method", ge=1, le=MOST_TRIALS)
    sequence_seed: int = setting(0, "of the quasi-random sequence of settings", ge=0)
    finalists: int = setting(
        0, "of each method, the best settings by seeds: they get final_seeds too; 0: none", ge=0
    )
    final_seeds: list[int] = setting([], "of the finalists, after seeds; for finalists alone")
    choose: Literal["error", "loss"] = setting(
        "error", "the lowest mean validation error (ties: loss), or loss"
    )
    methods: list[TunedMethod] = setting([], "optimizers", expected="at least one")

    @model_validator(mode="after")
    def _can_be_tuned(self) -> "TuningSettings":
        self._refuse_empty_or_twice("seeds", self.seeds)
        if (wrong := self._wrong_finals()) is not None:
            raise self._wrong(wrong)
        self._refuse_empty_or_twice("methods", [m.folder for m in self.methods])
        for method in self.methods:
            where = f"methods, {method.folder}"
            if (wrong := _wrong_settings(method)) is not None:
                raise self._wrong(f"{where}: {wrong}")
            if not method.ranges:
                raise self._wrong(f"{where}: ranges is empty; name at least one of {_listed()}")
            for name, its in method.ranges.items():
                if (wrong := _wrong_range(name, its)) is not None:
                    raise self._wrong(f"{where}: {name} from {its.low:g} to {its.high:g}: {wrong}")
        return self

    def _wrong_finals(self) -> str | None:
        if not self.finalists and not self.final_seeds:
            return None
        if not self.finalists or not self.final_seeds:
            return "finalists and final_seeds belong together: set both, or neither"
        if not 2 <= self.finalists <= self.trials:
            return f"finalists={self.finalists}: 2 to trials={self.trials} can be chosen from, or 0"
        self._refuse_empty_or_twice("seeds and final_seeds", [*self.seeds, *self.final_seeds])
        return None


def _listed() -> str:
    return ", ".join(NAMES)


def _wrong_settings(method: TunedMethod) -> str | None:
    if method.lacks_a_name:
        return f"settings need a name, or its runs would lie where {method.optimizer}'s do"
    tuned = [f"optimizer.{name}" for name in method.ranges]
    for one in parsed(method.further):
        if one.key_or_group in tuned:
            return f"settings have {one.key_or_group}, which is tuned; leave it out of one of them"
    return None


def _wrong_range(name: str, its: Range) -> str | None:
    if its.low >= its.high:
        return "low has to be below high"
    if its.log and its.low == 0:
        return "a logarithm has no 0; raise low, or set log=false"
    if name == "alpha" and its.high > 1:
        return "α is at most 1"
    if name == "lr" and its.low == 0:
        return "a learning rate is above 0"
    return None
