"""What must not happen twice when a batch goes through the network twice.

GNP evaluates each batch at two points. Two things then go wrong unless they are stopped: each
normalisation layer counts the batch twice (the second time at weights that nobody keeps), and
dropout draws another mask, so that g2 − g1 measures noise instead of curvature. The official
code takes running statistics from the first pass and replays its draws ("Fidelity" in the README).

Layers whose backward pass is not the derivative of their forward pass (Shake-Shake, ShakeDrop)
have an attribute ``true_gradient``; ``true_gradients`` switches all of them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
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
                _set(module, "track_running_stats", False)
            elif module.track_running_stats:
                # Instance norm updates its buffers whatever the flag says: new = (1 − 0)·old.
                restore.append((module, "momentum", module.momentum))
                _set(module, "momentum", 0.0)
        yield
    finally:
        for module, name, value in restore:
            _set(module, name, value)


# Module's own looks whether the value is a parameter, a module or a buffer: ten times as long.
_set = object.__setattr__


class NormStatistics:
    """A copy of the running statistics that the next forward pass of ``model`` would change."""

    def __init__(self, model: nn.Module | None):
        modules = [] if model is None else [m for m in _with_statistics(model) if m.training]
        self.buffers = [b for m in modules for b in (m.running_mean, m.running_var)]
        counters = [m.num_batches_tracked for m in modules]
        all_of_them = [*self.buffers, *(c for c in counters if c is not None)]
        self._before = [(tensor, tensor.clone()) for tensor in all_of_them]

    def restore(self) -> None:
        for now, before in self._before:
            now.copy_(before)

    def restore_where(self, condition: Tensor) -> None:
        """Restore if ``condition`` (0-d, bool) holds, without asking the device whether it does."""
        for now, before in self._before:
            now.copy_(torch.where(condition.to(now.device), before, now))


def _with_statistics(model: nn.Module) -> Iterator[_NormBase]:
    modules = (m for m in model.modules() if isinstance(m, _NormBase))
    return (m for m in modules if m.running_mean is not None)


@contextmanager
def averaged_norm_statistics(model: nn.Module | None, pieces: int) -> Iterator[Callable[[], None]]:
    """Running statistics of a batch that goes through the network in ``pieces`` pieces.

    Every piece starts from the statistics before the batch and the mean of the results stays, as
    when each piece is on a device of its own and the devices average afterwards. Call what this
    yields after every piece. By an exception the statistics before the batch come back. Without a
    model nothing is averaged.
    """
    before = NormStatistics(model)
    means = [torch.zeros_like(b) for b in before.buffers]
    done = 0

    def after_piece() -> None:
        nonlocal done
        for mean, buffer in zip(means, before.buffers, strict=True):
            mean.add_(buffer, alpha=1 / pieces)
        done += 1
        if done < pieces:
            before.restore()  # the pieces together count as one batch
        else:
            for buffer, mean in zip(before.buffers, means, strict=True):
                buffer.copy_(mean)

    try:
        yield after_piece
    except BaseException:
        before.restore()
        raise


@torch.no_grad()
def average_norm_statistics(
    model: nn.Module, process_group: "dist.ProcessGroup | None" = None
) -> None:
    """Running statistics of ``model`` ← their mean over the processes.

    When each process climbs by itself, its running statistics are those of its own images.
    Averaging now and then (before an evaluation or a checkpoint) gives the same as averaging after
    each step, because the statistics are a linear function of what they have seen.
    """
    for module in _with_statistics(model):
        for buffer in (module.running_mean, module.running_var):
            buffer.div_(dist.get_world_size(process_group))
            dist.all_reduce(buffer, group=process_group)


@contextmanager
def true_gradients(model: nn.Module) -> Iterator[None]:
    """While this is open, modules that have an attribute ``true_gradient`` have it set to True.

    Shake-Shake and ShakeDrop then use the forward pass's random coefficients in the backward pass
    too, so that it gives the gradient of the loss that was computed.
    """
    switched = [m for m in model.modules() if getattr(m, "true_gradient", None) is False]
    try:
        for module in switched:
            module.true_gradient = True
        yield
    finally:
        for module in switched:
            module.true_gradient = False


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
