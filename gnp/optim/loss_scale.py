"""The scale of the closures' losses: a ``GradScaler``'s (fp16), or none."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gnp.optim.buffers import Buffers


class LossScale(Protocol):
    """What a step asks of it."""

    # Must an overflow of g1 reach the mix, to be seen there?
    sees_overflows: bool

    def of(self, value: float, device: torch.device) -> float | Tensor:
        """A value in the units of the gradients."""

    def begin(self) -> None:
        """Before a batch's first pass."""

    def unscale(self, base: Optimizer) -> None:
        """``p.grad`` ← g in its own units."""

    def step(self, base: Optimizer, norm: Callable[[], Tensor]) -> Tensor | bool:
        """Let the base step, or skip it after an overflow. Returns whether it stepped, as a 0-d
        tensor where only the device knows. ``norm`` gives ‖g‖, unscaled."""


class NoLossScale:
    """The losses are as they are."""

    sees_overflows = False

    def of(self, value: float, device: torch.device) -> float:
        return value

    def begin(self) -> None:
        pass

    def unscale(self, base: Optimizer) -> None:
        pass

    def step(self, base: Optimizer, norm: Callable[[], Tensor]) -> bool:
        base.step()
        return True


class GradScaled:
    """The closures scale their losses with ``scaler``.

    A skipped step has not happened: what a forward pass that overflowed did to ``model``'s buffers
    is undone.
    """

    sees_overflows = True

    def __init__(self, scaler: torch.amp.GradScaler, model: nn.Module | None):
        self._scaler, self._model = scaler, model
        self._before = Buffers()

    def of(self, value: float, device: torch.device) -> float | Tensor:
        if value == 0:
            return value
        # Asking the scaler for its scale would wait for the device.
        return self._scaler.scale(torch.full((), value, device=device))

    def begin(self) -> None:
        self._before.take(() if self._model is None else self._model.modules())

    def unscale(self, base: Optimizer) -> None:
        if self._scaler._scale is None:  # this process has skipped the first batch of all
            self.of(1.0, base.param_groups[0]["params"][0].device)
        self._scaler.unscale_(base)

    def step(self, base: Optimizer, norm: Callable[[], Tensor]) -> Tensor:
        finite = norm().isfinite()
        self._before.put_back_where(~finite)
        self._scaler.step(base)
        return finite


def loss_scale(scaler: torch.amp.GradScaler | None, model: nn.Module | None) -> LossScale:
    if scaler is None or not scaler.is_enabled():
        return NoLossScale()
    return GradScaled(scaler, model)
