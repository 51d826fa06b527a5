"""Steps that have the penalty by chance, and are the base optimizer's else."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Protocol

from gnp.optim.errors import describe


class Chance(Protocol):
    """What a step asks of it. What it remembers is in the groups, and so in their state dict."""

    own: Mapping[str, Any]  # settings that each group gets, with what they begin with
    drawn: bool  # has the step that is being made the penalty?

    def draw(self, group: Mapping[str, Any]) -> None:
        """When a step begins. ``group``: a group's own settings."""

    def after(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """What changes in a group's own settings when a step was made."""


class EveryStep:
    own: Mapping[str, Any] = {}
    drawn = True

    def draw(self, group: Mapping[str, Any]) -> None:
        pass

    def after(self, group: Mapping[str, Any]) -> dict[str, Any]:
        return {}


class SomeSteps:
    """Each with probability p: the step's number, which is in the groups, decides with the seed."""

    own: Mapping[str, Any] = {"steps": 0}
    drawn = True

    def __init__(self, probability: float, seed: int):
        self._probability, self._seed = probability, seed

    def draw(self, group: Mapping[str, Any]) -> None:
        self.drawn = uniform(self._seed, group["steps"]) < self._probability

    def after(self, group: Mapping[str, Any]) -> dict[str, Any]:
        return {"steps": group["steps"] + 1}


def uniform(seed: int, step: int) -> float:
    """A number from [0, 1) that is a function of its arguments alone, so that it is the same in
    all processes and after a resumption: 53 bits of the SHA-256 of "seed/step"."""
    digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def chance_of(probability: float, seed: int, direction_every: int) -> Chance:
    """Raises:
    TypeError, ValueError: no probability, no whole seed, or directions that are kept.
    """
    if isinstance(probability, bool) or not isinstance(probability, (int, float)):
        raise TypeError(f"probability must be a number, not {describe(probability)}")
    if not (math.isfinite(probability) and 0 <= probability <= 1):
        raise ValueError(f"probability must be from 0 to 1, not {probability}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be an integer, not {describe(seed)}")
    if probability == 1:
        return EveryStep()
    if direction_every != 1:
        raise ValueError(
            "probability below 1 and direction_every above 1 do not go together: a direction would "
            "grow old in steps that have no use for it; set one of them to 1"
        )
    return SomeSteps(probability, seed)
