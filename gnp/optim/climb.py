"""The climb: where g2 is taken, and how the weights come back.

Three of one kind say where: along g1 (``Fresh``), in proportion to the weights (``Adaptive``), or
in a direction that was measured some steps ago (``Kept``).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

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
    """One that is climbed in for several steps."""

    climb: Gradients  # of unit length (under ASAM's norm where that is on)
    reference: Gradients | None  # g1/‖g1‖, where the mix takes that


class Climb(ABC):
    """Where g2 is taken."""

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
    def old(self, piece: int) -> Direction | None:
        """The direction in which this piece of the batch is to climb again, if there is one."""

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

    Raises:
        ValueError: ε (with ``Adaptive``, η) is negative or not finite.
    """

    def __init__(self, epsilon: float, units: Units):
        _check_not_negative("epsilon", epsilon)
        self._epsilon, self._units = epsilon, units

    def ascent(
        self, groups: list[Group], g1: Gradients, norm: Tensor, spent: list[bool], piece: int
    ) -> Ascent:
        directions, length = self.direction(groups, g1, norm)
        return Ascent(
            directions,
            [self.scale(length, group.climb) for group in groups],
            [d is not g or over for d, g, over in zip(directions, g1, spent, strict=True)],
        )

    def direction(
        self, groups: list[Group], g1: Gradients, norm: Tensor
    ) -> tuple[Gradients, Tensor]:
        """The direction, and the norm that it is divided by."""
        return g1, norm

    def scale(self, length: Tensor, r: float) -> Tensor:
        return climb_scale(length, r, self._units(self._epsilon, length.device))

    def old(self, piece: int) -> Direction | None:
        return None

    def after_step(self, stepped: Tensor | bool) -> None:
        pass

    def renew(self) -> None:
        pass


class Adaptive(Fresh):
    """θ + r · T²g1/‖T g1‖ with T = |θ| + η in the groups that have ``adaptive`` (ASAM), and T = 1
    in the others."""

    def __init__(self, eta: float, epsilon: float, units: Units):
        super().__init__(epsilon, units)
        _check_not_negative("adaptive_eta", eta)
        self._eta = eta

    def direction(
        self, groups: list[Group], g1: Gradients, norm: Tensor
    ) -> tuple[Gradients, Tensor]:
        if not any(group.adaptive for group in groups):
            return super().direction(groups, g1, norm)
        directions = [
            [None if g is None else g.clone() for g in grads] if group.adaptive else grads
            for group, grads in zip(groups, g1, strict=True)
        ]
        self._times_t(groups, directions)
        length = norm_of(directions)
        self._times_t(groups, directions)
        return directions, length

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

    def old(self, piece: int) -> Direction | None:
        return self._directions.get(piece)

    def ascent(
        self, groups: list[Group], g1: Gradients, norm: Tensor, spent: list[bool], piece: int
    ) -> Ascent:
        alphas = {group.alpha for group in groups if group.r > 0}
        if len(alphas) > 1:
            raise ValueError(
                "direction_every needs one alpha for all groups: a step in an old direction takes "
                f"one gradient, at θ + αr·d; these have {sorted(alphas)}"
            )
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


def kept_for(every: int, fresh: Fresh, with_reference: bool) -> Climb:
    """``fresh``, its directions kept for ``every`` steps (1: measured in each).

    Raises:
        TypeError, ValueError: ``every`` is no number of steps.
    """
    if isinstance(every, bool) or not isinstance(every, int):
        raise TypeError(f"direction_every must be a number of steps, not {every!r}")
    if every < 1:
        raise ValueError(f"direction_every must be ≥ 1 step, not {every}")
    return fresh if every == 1 else Kept(fresh, every, with_reference)


@contextmanager
def climbed(groups: list[Group], ascent: Ascent) -> Iterator[None]:
    """Inside, the weights are where ``ascent`` leads; afterwards θ again, bit for bit, also by an
    exception."""
    saved = _move(groups, ascent)
    del ascent  # which may be the last that holds g1
    try:
        yield
    finally:
        _copy_back(saved)


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
