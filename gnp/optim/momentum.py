"""The climb along the base's momentum, for which no gradient at θ is needed (MSAM).

Source: Becker, Altrock, Risse, *Momentum-SAM: Sharpness Aware Minimization without Computational
Overhead*, arXiv 2401.12033, and its code (MarlonBecker/MSAM at 780fa4f).

The sign is theirs: the gradient is taken at θ − r · m/‖m‖, where m is the momentum buffer, a sum
of gradients of which the update is −lr · m. So the weights go on in the way that they were going,
as in Nesterov's look-ahead, but by a length of r. It is not SAM's sign with m in the place of g1.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from gnp.optim.climb import Ascent, Climb, Direction, Fresh, Kept, refuse_different_alphas
from gnp.optim.gradients import Gradients, norm_of
from gnp.optim.groups import Group

ALONG = ("gradient", "momentum")
# Class → the key of the momentum in its state. AdamW became an Adam in torch 2.7.
_MOMENTA = {
    torch.optim.SGD: "momentum_buffer",
    torch.optim.Adam: "exp_avg",
    torch.optim.AdamW: "exp_avg",
}


class AlongMomentum(Climb):
    """θ − α·r · m/‖m‖, where one gradient is all that the step takes; where the base has no
    momentum yet, θ.

    Args:
        fresh: what makes a direction and a length of m as of a gradient.
        bases: whose momentum it is.

    Raises:
        TypeError, ValueError: a base has none.
    """

    shared = True
    _direction: Direction | None = None  # of this step, for all pieces of its batch

    def __init__(self, fresh: Fresh, bases: Iterable[Optimizer]):
        self._fresh = fresh.unscaled()
        self._bases = [(base, _momentum_of(base)) for base in bases]

    @torch.no_grad()
    def old(self, groups: list[Group], piece: int) -> Direction:
        if self._direction is None:
            refuse_different_alphas(groups, "climb_along='momentum'")
            momentum = self._momentum(groups)
            directions, length = self._fresh.direction(groups, momentum, norm_of(momentum))
            self._direction = Direction(directions, None, -self._fresh.scale(length, 1.0))
        return self._direction

    def _momentum(self, groups: list[Group]) -> Gradients:
        """With the sign of ∇L: where the base maximises, its own is that of −L's gradients."""
        own = [
            [_entry(base.state, p, key) for p in group["params"]]
            for base, key in self._bases
            for group in base.param_groups
        ]
        return [
            [None if m is None else -m for m in ms] if group.maximizes else ms
            for group, ms in zip(groups, own, strict=True)
        ]

    def ascent(
        self, groups: list[Group], g1: Gradients, norm: Tensor, spent: list[bool], piece: int
    ) -> Ascent:
        raise AssertionError("there is always an old direction: no step takes a second gradient")

    def after_step(self, stepped: Tensor | bool) -> None:
        self.renew()

    def renew(self) -> None:
        self._direction = None


def _entry(state: Mapping[Tensor, Mapping[str, Any]], parameter: Tensor, key: str) -> Tensor | None:
    return state[parameter].get(key) if parameter in state else None


def _momentum_of(base: Optimizer) -> str:
    key = next((key for kind, key in _MOMENTA.items() if isinstance(base, kind)), None)
    if key is None:
        raise TypeError(
            f"climb_along='momentum' knows the momentum of torch's SGD, Adam and AdamW, not of "
            f"{type(base).__name__}"
        )
    if key == "momentum_buffer" and any(group["momentum"] == 0 for group in base.param_groups):
        raise ValueError("climb_along='momentum' needs momentum above 0 in each group of SGD")
    return key


def climb_of(
    along: str, every: int, fresh: Fresh, bases: Sequence[Optimizer], with_reference: bool
) -> Climb:
    """Where g2 is taken.

    Args:
        along: "gradient" or "momentum".
        every: how many steps a direction is kept (1: it is measured in each).
        with_reference: the mix takes g1/‖g1‖.

    Raises:
        TypeError, ValueError: ``every`` is no number of steps, ``along`` another direction, or what
            does not go together.
    """
    if isinstance(every, bool) or not isinstance(every, int):
        raise TypeError(f"direction_every must be a number of steps, not {every!r}")
    if every < 1:
        raise ValueError(f"direction_every must be ≥ 1 step, not {every}")
    if along not in ALONG:
        raise ValueError(f"climb_along must be 'gradient' or 'momentum', not {along!r}")
    if along == "gradient":
        return fresh if every == 1 else Kept(fresh, every, with_reference)
    if every > 1:
        raise ValueError("climb_along='momentum' measures no direction: set direction_every=1")
    if with_reference:
        raise ValueError(
            "climb_along='momentum' takes no gradient at the weights, which normalize_reference "
            "would mix: set normalize_reference=False"
        )
    return AlongMomentum(fresh, bases)
