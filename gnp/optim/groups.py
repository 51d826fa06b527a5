"""A parameter group as the penalty sees it, and what its settings may be."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Optimizer

from gnp.optim.bases import bases_of
from gnp.optim.errors import describe


class Group(NamedTuple):
    """The parameters of a group, and its settings of this moment (``GNP`` says what they are)."""

    params: list[Tensor]
    r: float
    alpha: float
    l2: float
    adaptive: bool
    climbs: bool
    maximizes: bool  # the base's objective is −L, and uphill for the penalty is where L falls

    @property
    def climb(self) -> float:
        """r, along g1 or against it."""
        return -self.r if self.maximizes else self.r

    @property
    def decay(self) -> float:
        """l2, with the sign that it has in the gradient that the base gets."""
        return -self.l2 if self.maximizes else self.l2


def groups_of(base: Optimizer, keys: Mapping[str, str]) -> list[Group]:
    """A base's groups.

    Args:
        keys: a setting's name → its key in the base's groups.
    """
    return [
        Group(
            group["params"],
            r=group[keys["r"]],
            alpha=group[keys["alpha"]],
            l2=group[keys["l2"]],
            adaptive=group[keys["adaptive"]],
            climbs=group[keys["climbs"]],
            maximizes=_maximizes(part, group),
        )
        for part in bases_of(base)
        for group in part.param_groups
    ]


def _maximizes(base: Optimizer, group: dict[str, Any]) -> bool:
    # Some libraries' optimizers have it as an attribute, and some wrap another one.
    default = getattr(getattr(base, "optimizer", base), "maximize", False)
    return bool(group.get("maximize", default))


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse what ``r``, ``alpha``, ``l2``, ``adaptive`` and ``climbs`` cannot be.

    Raises:
        TypeError: not a number, or not True or False.
        ValueError: r or l2 negative, α outside [0, 1], or not finite.
    """
    for name, upper in (("r", math.inf), ("alpha", 1.0), ("l2", math.inf)):
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name} must be a number, not {describe(value)}")
        if not (math.isfinite(value) and 0 <= value <= upper):
            expected = "≥ 0" if upper == math.inf else "from 0 (base optimizer) to 1 (SAM)"
            raise ValueError(f"{name} must be finite and {expected}, not {value}")
    for name in ("adaptive", "climbs"):
        if not isinstance(settings[name], bool):
            raise TypeError(f"{name} must be True or False, not {describe(settings[name])}")
