"""The mix, g = (1 − α) g1 + α g2, and what stands in it for g1."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gnp.optim.climb import Ascent, Direction
from gnp.optim.gradients import (
    Gradients,
    Units,
    by_device_and_dtype,
    current_gradients,
    norm_of,
    refuse_shared_memory,
    scale_,
)
from gnp.optim.groups import Group
from gnp.optim.update_rule import climb_scale, mix_


class PlainReference:
    """g1 itself."""

    is_unit = False

    def prepare(self, groups: list[Group], g1: Gradients, norm: Tensor) -> None:
        """Make of g1, in place, what is mixed; ``norm`` is ‖g1‖."""

    def prepare_alone(self, groups: list[Group]) -> None:
        """``p.grad``, which is g1 and all that the step takes, ← what is mixed."""

    def single_ascent(self, groups: list[Group], old: Direction) -> Ascent:
        """Where one gradient does for both: g1 + α(g2 − g1) = ∇L(θ + αr·d) up to terms in r²."""
        return _ascent(old, [group.climb * group.alpha for group in groups])

    def finish_single(self, groups: list[Group], old: Direction) -> None:
        """``p.grad`` of that gradient ← g."""


class UnitReference:
    """g1/(‖g1‖ + ε), in the units of the gradients, in the groups with r > 0 (r = 0 is the base
    optimizer); zero gradients stay zero."""

    is_unit = True

    def __init__(self, epsilon: float, units: Units):
        self._epsilon, self._units = epsilon, units

    def prepare_alone(self, groups: list[Group]) -> None:
        g1 = current_gradients(groups)
        self.prepare(groups, g1, norm_of(g1))

    @torch.no_grad()
    def prepare(self, groups: list[Group], g1: Gradients, norm: Tensor) -> None:
        epsilon, one = (self._units(value, norm.device) for value in (self._epsilon, 1.0))
        climbing = [g for g, group in zip(g1, groups, strict=True) if group.r > 0]
        scale_(climbing, climb_scale(norm, one, epsilon))

    def single_ascent(self, groups: list[Group], old: Direction) -> Ascent:
        """g2 is taken at θ + r·d, and mixed with the kept reference."""
        return _ascent(old, [group.climb for group in groups])

    @torch.no_grad()
    def finish_single(self, groups: list[Group], old: Direction) -> None:
        assert old.reference is not None
        reference = [
            [None if g is None else g * self._units(1.0, g.device) for g in grads]
            for grads in old.reference
        ]
        moved = [i for i, group in enumerate(groups) if group.r > 0]
        mix_into_gradients([groups[i] for i in moved], [reference[i] for i in moved])


def reference_in_the_mix(
    normalize: bool, epsilon: float, units: Units
) -> PlainReference | UnitReference:
    """What stands in the mix for g1: g1/(‖g1‖ + ε) with ``normalize``, else g1."""
    return UnitReference(epsilon, units) if normalize else PlainReference()


def _ascent(old: Direction, scales: Sequence[float]) -> Ascent:
    return Ascent(old.climb, [s * old.scale for s in scales], [False] * len(scales))


@torch.no_grad()
def mix_into_gradients(groups: list[Group], g1: Gradients) -> None:
    """p.grad ← (1 − α) g1 + α p.grad; a missing gradient counts as zero."""
    refuse_shared_memory(g1, current_gradients(groups))
    for group, first in zip(groups, g1, strict=True):
        for p, g in zip(group.params, first, strict=True):
            if g is not None and p.grad is None:
                p.grad = torch.zeros_like(g)
            elif g is None and p.grad is not None and group.alpha != 1:
                p.grad.mul_(group.alpha)
        both = [
            (p.grad, g)
            for p, g in zip(group.params, first, strict=True)
            if g is not None and p.grad is not None
        ]
        for second_grads, first_grads in by_device_and_dtype(both):
            mix_(first_grads, second_grads, group.alpha)
