"""A parameter group as the penalty sees it, and what its settings may be."""

import math
from typing import Any, NamedTuple

from torch import Tensor

from gnp.optim.errors import describe


class Group(NamedTuple):
    """The parameters of a group, and its settings of this moment (``GNP`` says what they are)."""

    params: list[Tensor]
    r: float
    alpha: float
    l2: float
    adaptive: bool


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse what ``r``, ``alpha``, ``l2`` and ``adaptive`` cannot be.

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
    if not isinstance(settings["adaptive"], bool):
        raise TypeError(f"adaptive must be True or False, not {describe(settings['adaptive'])}")
