"""Notices a pass without ``backward()``, and gradients that are added to those of other batches.

A trainer that accumulates leaves the gradients of the first micro-batches in ``p.grad`` and calls
``step`` with a closure for the last one alone: g1 would be of all of them, g2 of one.
"""

import sys
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor

from gnp.optim.gradients import is_sharded
from gnp.optim.groups import Group

_ACCUMULATE = (
    "To accumulate, loop over the micro-batches in one closure, each loss divided by their number"
)


class Arrival:
    """What a first pass has left in ``p.grad``, and what was there before it."""

    loss: object = object()  # what a closure returned; None if it skips its batch

    def __init__(self, groups: list[Group], climbs: bool):
        self._groups = groups
        # Two of them tell enough. (A shard's hooks are not called.)
        ends = _both_ways(groups) if climbs else ()
        before = [next(_present(parameters), None) for parameters in ends]
        distinct = {id(p): p for p in before if p is not None}
        self._marks = [_Mark(p) for p in distinct.values()]

    def close(self) -> None:
        for mark in self._marks:
            mark.close()

    @property
    def skipped(self) -> bool:
        """Is there nothing to step along, as a closure said that returned None?"""
        return self.loss is None and not any_gradient(self._groups)

    def check(self) -> None:
        """Raises RuntimeError if there are no gradients, or not only those of the pass."""
        if self.loss is not None and not any_gradient(self._groups):
            raise RuntimeError(
                "no gradient has arrived in the first pass: the closure (or the body of "
                "first_pass) has to compute the loss and call backward() on it"
            )
        if self._marks and all(mark.stale for mark in self._marks):
            raise RuntimeError(
                "the first pass left the gradients that were there before it as they were: the "
                "closure has to zero them, compute the loss and call backward() on it"
            )
        if self._marks and all(mark.emptied for mark in self._marks) and self._brought_nothing():
            raise RuntimeError(
                "the first pass zeroed the gradients and brought none: the closure has to call "
                "backward() on the loss"
            )
        if any(mark.added_to for mark in self._marks):
            raise RuntimeError(
                "the first pass added to gradients that were there before it, which the second "
                f"pass would not contain. {_ACCUMULATE} (with Lightning, "
                "accumulate_grad_batches=1); else call zero_grad() in the closure or before "
                "first_pass()"
            )

    def _brought_nothing(self) -> bool:
        """Looks at all gradients; where the two ends had none, as by ``zero_grad(False)``."""
        parameters = (p for group in self._groups for p in group.params)
        skipped = self.loss is None
        return not skipped and not any(bool(p.grad.any()) for p in _present(parameters))


class _Mark:
    """A parameter's gradient as it was before the pass, and whether backward adds to it."""

    def __init__(self, parameter: Tensor):
        assert parameter.grad is not None
        self._parameter, self._version = parameter, parameter.grad._version
        self._gradient = weakref.ref(parameter.grad)  # whose memory zero_grad is to free
        self._was_not_zero: Tensor | None = None
        self._arrived = self._added = False
        self._handles = (
            parameter.register_hook(self._on_gradient),
            parameter.register_post_accumulate_grad_hook(self._on_accumulated),
        )

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def gradient(self) -> Tensor | None:
        """The one that was there before, if it still is."""
        now = self._parameter.grad
        return now if now is not None and now is self._gradient() else None

    @property
    def untouched(self) -> bool:
        return self.gradient is not None and self.gradient._version == self._version

    @property
    def stale(self) -> bool:
        return self.untouched and self.gradient is not None and bool(self.gradient.any())

    @property
    def emptied(self) -> bool:
        """The same tensor as before, zeroed, and no backward has come to it."""
        return not self._arrived and self.gradient is not None and not self.untouched

    @property
    def added_to(self) -> bool:
        return self._added and bool(self._was_not_zero)  # waits for the device, if it was added to

    def _on_gradient(self, _: Tensor) -> None:
        # torch.autograd.grad calls this too, and adds to nothing.
        if not self._arrived and self.untouched and self.gradient is not None:
            self._was_not_zero = self.gradient.any()

    def _on_accumulated(self, _: Tensor) -> None:
        if not self._arrived and self._was_not_zero is not None and self.gradient is not None:
            self._added = self.gradient._version == self._version + 1
        self._arrived = True


@contextmanager
def arriving(groups: list[Group], climbs: bool) -> Iterator[Arrival]:
    """A first pass: see ``Arrival.check``.

    Args:
        climbs: there is a penalty. Without one old gradients are the base's affair.
    """
    arrival = Arrival(groups, climbs)
    try:
        yield arrival
    finally:
        arrival.close()
    arrival.check()


def any_gradient(groups: Iterable[Group]) -> bool:
    return any(p.grad is not None for group in groups for p in group.params)


def refuse_accelerates_accumulation() -> None:
    """Accelerate's optimizer skips ``step`` and ``zero_grad`` for all micro-batches but the last,
    whose loss it has divided.

    Raises:
        RuntimeError: Accelerate is set to do so.
    """
    if (module := sys.modules.get("accelerate.state")) is None:  # no requirement of ours
        return
    state = getattr(module, "GradientState", None)
    if state is None or not state._shared_state:
        return
    if (steps := state().num_steps) > 1:
        raise RuntimeError(
            f"Accelerate's gradient_accumulation_steps={steps} would make a step of the last "
            f"micro-batch alone. {_ACCUMULATE}, and set gradient_accumulation_steps=1"
        )


def _both_ways(groups: list[Group]) -> Iterator[Iterator[Tensor]]:
    yield (p for group in groups for p in group.params)
    yield (p for group in reversed(groups) for p in reversed(group.params))


def _present(parameters: Iterable[Tensor]) -> Iterator[Tensor]:
    for p in parameters:
        if p.grad is not None and p.requires_grad and not is_sharded(p):
            yield p
