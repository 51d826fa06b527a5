"""The climb: where g2 is taken, and how the weights come back.

Four of one kind say where: along g1 (``Fresh``), in proportion to the weights (``Adaptive``), in a
direction that was measured some steps ago (``Kept``), or along the base's momentum
(``momentum.py``).
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from gnp.optim.climbing import Climbing
from gnp.optim.gradients import Gradients, Units, by_device_and_dtype, norm_of, with_gradient
from gnp.optim.groups import Group
from gnp.optim.update_rule import adaptive_, climb_, climb_scale

_Saved = tuple[list[Tensor], list[Tensor]]  # weights, their copies


@dataclass
class Ascent:
    """A group's weights go to θ + scale · direction."""

    directions: Gradients
    scales: Sequence[float | Tensor]
    overwrite: Sequence[bool]  # the group's directions are not needed any more


@dataclass(frozen=True)
class Direction:
    """One that is known before the step's gradient is."""

    climb: Gradients
    reference: Gradients | None  # g1/‖g1‖, where the mix takes that
    scale: float | Tensor = 1.0  # makes climb's length 1 (under ASAM's norm where that is on)


class Climb(ABC):
    """Where g2 is taken."""

    shared = False  # Is it one direction for all processes, whatever their images are?

    @abstractmethod
    def ascent(
        self, groups: list[Group], g1: Gradients, norm: Tensor, spent: list[bool], piece: int
    ) -> Ascent:
        """From g1 on.

        Args:
            norm: ‖g1‖, 0-d.
            spent: the group's g1 is not needed afterwards.
            piece: of the batch.
        """

    @abstractmethod
    def old(self, groups: list[Group], piece: int) -> Direction | None:
        """The direction in which this piece of the batch is to climb, if there is one already."""

    @abstractmethod
    def after_step(self, stepped: Tensor | bool) -> None:
        """``stepped``: false if the base's update was skipped."""

    @abstractmethod
    def renew(self) -> None:
        """Measure the direction anew in the next step."""

    @contextmanager
    def renewing_on_error(self) -> Iterator[None]:
        """A direction is one that a whole step was made with."""
        try:
            yield
        except BaseException:
            self.renew()
            raise


class Fresh(Climb):
    """θ + r · g1/‖g1‖: measured in each step.

    Args:
        epsilon: added to ‖g1‖.
        units: what turns ε into the units of the gradients.
        climbing: of which parameters; the norm is over them, too.

    Raises:
        ValueError: ε (with ``Adaptive``, η) is negative or not finite.
    """

    def __init__(self, epsilon: float, units: Units, climbing: Climbing):
        _check_not_negative("epsilon", epsilon)
        self._epsilon, self._units, self._climbing = epsilon, units, climbing

    def ascent(
        self, groups: list[Group], g1: Gradients, norm: Tensor, spent: list[bool], piece: int
    ) -> Ascent:
        directions, length = self.direction(groups, g1, norm)
        return Ascent(
            directions,
            [self.scale(length, group.climb) for group in groups],
            [self.made(group) or over for group, over in zip(groups, spent, strict=True)],
        )

    def direction(
        self, groups: list[Group], g1: Gradients, norm: Tensor
    ) -> tuple[Gradients, Tensor]:
        """The direction, and the norm that it is divided by."""
        climbing = self._climbing(groups, g1)
        self._climbing.check(groups)
        return climbing, norm if climbing is g1 else norm_of(climbing)

    def made(self, group: Group) -> bool:
        """Are the group's directions of their own memory, not g1's?"""
        return False

    def unscaled(self) -> "Fresh":
        """The same for vectors that no loss scale is in."""
        other = copy.copy(self)
        other._units = _as_it_is
        return other

    def scale(self, length: Tensor, r: float) -> Tensor:
        return climb_scale(length, r, self._units(self._epsilon, length.device))

    def old(self, groups: list[Group], piece: int) -> Direction | None:
        return None

    def after_step(self, stepped: Tensor | bool) -> None:
        pass

    def renew(self) -> None:
        pass


class Adaptive(Fresh):
    """θ + r · T²g1/‖T g1‖ with T = |θ| + η in the groups that have ``adaptive`` (ASAM), and T = 1
    in the others."""

    def __init__(self, eta: float, epsilon: float, units: Units, climbing: Climbing):
        super().__init__(epsilon, units, climbing)
        _check_not_negative("adaptive_eta", eta)
        self._eta = eta

    def direction(
        self, groups: list[Group], g1: Gradients, norm: Tensor
    ) -> tuple[Gradients, Tensor]:
        climbing, norm = super().direction(groups, g1, norm)
        if not any(group.adaptive for group in groups):
            return climbing, norm
        directions = [
            [None if g is None else g.clone() for g in grads] if self.made(group) else grads
            for group, grads in zip(groups, climbing, strict=True)
        ]
        self._times_t(groups, directions)
        length = norm_of(directions)
        self._times_t(groups, directions)
        return directions, length

    def made(self, group: Group) -> bool:
        return group.adaptive

    def _times_t(self, groups: list[Group], directions: Gradients) -> None:
        for group, grads in zip(groups, directions, strict=True):
            if group.adaptive:
                pairs = with_gradient(group.params, grads)
                for weights, device_grads in by_device_and_dtype(pairs):
                    adaptive_(device_grads, weights, self._eta)


class Kept(Climb):
    """The direction of another kind of climb, for ``every`` steps in a row.

    Args:
        fresh: what measures it.
        with_reference: keep g1/‖g1‖ too.
    """

    def __init__(self, fresh: Fresh, every: int, with_reference: bool):
        self._fresh, self._every, self._with_reference = fresh, every, with_reference
        self.renew()

    def old(self, groups: list[Group], piece: int) -> Direction | None:
        return self._directions.get(piece)

    def ascent(
        self, groups: list[Group], g1: Gradients, norm: Tensor, spent: list[bool], piece: int
    ) -> Ascent:
        refuse_different_alphas(groups, "direction_every")
        directions, length = self._fresh.direction(groups, g1, norm)
        climb = self._unit(directions, length)
        reference = None
        if self._with_reference:
            reference = climb if directions is g1 else self._unit(g1, norm)
        self._directions[piece] = Direction(climb, reference)
        return Ascent(climb, [group.climb for group in groups], [False] * len(groups))

    def _unit(self, gradients: Gradients, length: Tensor) -> Gradients:
        inverse = self._fresh.scale(length, 1.0)
        return [[None if g is None else g * inverse.to(g.device) for g in gs] for gs in gradients]

    def after_step(self, stepped: Tensor | bool) -> None:
        self._age += 1
        # An overflow must not stay in the direction. (Asking the device waits for it.)
        if self._age >= self._every or not stepped:
            self.renew()

    def renew(self) -> None:
        self._directions: dict[int, Direction] = {}  # a piece of the batch → its direction
        self._age = 0  # steps that used them


def refuse_different_alphas(groups: list[Group], what: str) -> None:
    alphas = {group.alpha for group in groups}
    if len(alphas) > 1:
        raise ValueError(
            f"{what} needs one alpha for all groups: a step in a direction that is known takes "
            f"one gradient, at θ + αr·d; these have {sorted(alphas)}"
        )


@contextmanager
def climbed(groups: list[Group], ascent: Ascent) -> Iterator[None]:
    """Inside, the weights are where ``ascent`` leads; afterwards θ again, bit for bit, also by an
    exception.

    An ``autocast`` that is open around this keeps copies of the weights in low precision, and does
    not see that they change: it is told.
    """
    saved = _move(groups, ascent)
    del ascent  # which may be the last that holds g1
    try:
        torch.clear_autocast_cache()
        yield
    finally:
        _copy_back(saved)
        torch.clear_autocast_cache()


def _as_it_is(value: float, device: torch.device) -> float:
    return value


def _check_not_negative(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and ≥ 0, not {value}")


@torch.no_grad()
def _move(groups: list[Group], ascent: Ascent) -> list[_Saved]:
    """Each group's weights ← θ + scale · direction. Returns what θ was."""
    saved: list[_Saved] = []
    parts = zip(groups, ascent.directions, ascent.scales, ascent.overwrite, strict=True)
    try:
        for group, grads, scale, overwrite in parts:
            if group.r == 0:
                continue
            for weights, device_grads in by_device_and_dtype(with_gradient(group.params, grads)):
                # Rounding makes θ + s − s differ from θ: a copy is the way back.
                saved.append((weights, [w.clone() for w in weights]))
                here = scale.to(weights[0].device) if isinstance(scale, Tensor) else scale
                climb_(weights, device_grads, here, overwrite)
    except BaseException:
        _copy_back(saved)
        raise
    return saved


@torch.no_grad()
def _copy_back(saved: list[_Saved]) -> None:
    for weights, copies in saved:
        torch._foreach_copy_(weights, copies)
