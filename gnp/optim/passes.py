"""What must not happen twice when a batch goes through the network twice.

GNP evaluates each batch at two points. Two things then go wrong unless they are stopped: each
normalisation layer counts the batch twice (the second time at weights that nobody keeps), and
dropout draws another mask, so that g2 − g1 measures noise instead of curvature. The official
code takes running statistics from the first pass and replays its draws ("Fidelity" in the README).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase


@contextmanager
def frozen_norm_statistics(model: nn.Module) -> Iterator[None]:
    """While this is open, normalisation layers in training mode keep their running statistics.

    They still normalise with the statistics of the batch. What was changed is put back when the
    context ends, also by an exception; nested use is harmless.
    """
    restore = []
    try:
        for module in model.modules():
            if not (isinstance(module, _NormBase) and module.training):
                continue
            if isinstance(module, _BatchNorm):
                # In training mode this flag alone decides whether the buffers are updated.
                restore.append((module, "track_running_stats", module.track_running_stats))
                module.track_running_stats = False
            elif module.track_running_stats:
                # Instance norm updates its buffers whatever the flag says: new = (1 − 0)·old.
                restore.append((module, "momentum", module.momentum))
                module.momentum = 0.0
        yield
    finally:
        for module, name, value in restore:
            setattr(module, name, value)


class RandomState:
    """The state of torch's default generators on the CPU and on ``devices`` at one moment.

    ``with state.replayed():`` draws the same numbers again that were drawn since then, and
    leaves the generators, when it ends, as they were when it began.
    """

    def __init__(self, devices: Iterable[torch.device] = ()):
        self._devices = sorted({d for d in devices if d.type == "cuda"}, key=str)
        self._states = self._read()

    def _read(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in self._devices)]

    def _write(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self._devices, states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        now = self._read()
        self._write(self._states)
        try:
            yield
        finally:
            self._write(now)
