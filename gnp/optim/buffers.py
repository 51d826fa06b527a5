"""A network's buffers: running statistics, counters, queues, observers, of whatever class.

A batch that goes through the network twice must not change them twice, and a step that is skipped
must not change them at all. Nothing here asks what a buffer is for; only where several pieces or
processes make one batch are running means and variances, which are averaged, told from the rest.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import is_not

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gnp.optim.gradients import by_device_and_dtype

STATISTICS = ("running_mean", "running_var")


class Buffers:
    """All buffers of some modules as they were when ``take`` was called last: which tensors they
    were, and what was in them. The copies' memory is used again by the next ``take``.

    What is in a tensor that is not written in place (sparse, quantised, expanded, …) is not copied.
    """

    def __init__(self) -> None:
        self._of_module: list[tuple[nn.Module, dict[str, Tensor | None]]] = []
        self._tensors: list[Tensor | None] = []
        self._pairs: list[tuple[list[Tensor], list[Tensor]]] = []  # tensors, their copies

    def __reduce__(self) -> tuple[type["Buffers"], tuple[()]]:
        return Buffers, ()  # a copy, or a pickle, has nothing to put back

    @torch.no_grad()  # a buffer may have a history, which is not ours to prolong
    def take(self, modules: Iterable[nn.Module]) -> "Buffers":
        self._of_module = [(m, dict(m._buffers)) for m in modules if m._buffers]
        # By identity: a buffer that two modules share is copied once.
        distinct = {id(b): b for _, buffers in self._of_module for b in buffers.values()}
        tensors = list(distinct.values())
        others = len(tensors) != len(self._tensors) or any(map(is_not, tensors, self._tensors))
        if others or self._any_resized():
            self._tensors = tensors
            plain = [b for b in tensors if b is not None and _is_plain(b)]
            self._pairs = by_device_and_dtype((b, torch.empty_like(b)) for b in plain)
        for now, copies in self._pairs:
            torch._foreach_copy_(copies, now)
        return self

    def put_back(self) -> None:
        """The same tensors again, with what was in them, whatever has happened to them since."""
        for module, buffers in self._of_module:
            _set_buffers(module, buffers)
        for now, copies in self._pairs:
            _copy(now, copies)

    def put_back_where(self, condition: Tensor) -> None:
        """What was in them, if ``condition`` (0-d, bool) holds, without asking the device.

        A buffer that has another shape now is left alone: it is a cache, whose length its module
        knows by attributes that nobody puts back.
        """
        copies = {id(now): copy for pair in self._pairs for now, copy in zip(*pair, strict=True)}
        for module, buffers in self._of_module:
            for name, taken in buffers.items():
                now, before = _buffer(module, name), copies.get(id(taken))
                if now is None or before is None or _resized(now, before) or not _is_plain(now):
                    continue
                chosen = torch.where(condition.to(now.device), before, now.detach())
                _copy([now], [chosen])

    def _any_resized(self) -> bool:
        return any(any(map(_resized, now, copies)) for now, copies in self._pairs)


@contextmanager
def kept_buffers(model: nn.Module, copies: Buffers | None = None) -> Iterator[None]:
    """When this ends, also by an exception, every buffer of ``model`` is what it was when it began.

    Inside, the network works as always: a batch norm in training mode normalises with the
    statistics of the batch, and moves its running ones. Nested use is harmless.

    Args:
        copies: whose memory is used, where this is done again and again.
    """
    before = (copies or Buffers()).take(model.modules())
    try:
        yield
    finally:
        before.put_back()


@contextmanager
def averaged_buffers(model: nn.Module | None, pieces: int) -> Iterator[Callable[[], None]]:
    """Buffers of a batch that goes through the network in ``pieces`` pieces.

    For running means and variances the pieces are one batch: each starts from those before the
    batch and the mean of the results stays, as when each piece is on a device of its own and the
    devices average afterwards. What else their modules count counts once. For any other buffer (a
    queue, an observer) they are one batch after another. Call what this yields after every piece.
    By an exception all buffers are as before the batch. Without a model nothing is done.
    """
    modules = [] if model is None else list(model.modules())
    counting = {m: None for m in modules if m.training and _has_statistics(m)}  # ordered
    before = Buffers().take(counting)
    others = Buffers().take(m for m in modules if m not in counting)
    means = [torch.zeros_like(b) for b in _statistics(counting)]
    done = 0

    def after_piece() -> None:
        nonlocal done
        for mean, buffer in zip(means, _statistics(counting), strict=True):
            mean.add_(buffer, alpha=1 / pieces)
        done += 1
        if done < pieces:
            before.put_back()
        else:
            for pair in by_device_and_dtype(zip(_statistics(counting), means, strict=True)):
                _copy(*pair)

    try:
        yield after_piece
    except BaseException:
        before.put_back()
        others.put_back()
        raise


@torch.no_grad()
def average_norm_statistics(
    model: nn.Module, process_group: "dist.ProcessGroup | None" = None
) -> None:
    """Running means and variances of ``model`` ← their mean over the processes.

    When each process climbs by itself, its running statistics are those of its own images.
    Averaging now and then (before an evaluation or a checkpoint) gives the same as averaging after
    each step, because the statistics are a linear function of what they have seen.
    """
    for buffer in _statistics(m for m in model.modules() if _has_statistics(m)):
        buffer.div_(dist.get_world_size(process_group))
        dist.all_reduce(buffer, group=process_group)


def _buffer(module: nn.Module, name: str) -> Tensor | None:
    return dict(module._buffers).get(name)  # of a scripted module they are in no dict, without get


def _has_statistics(module: nn.Module) -> bool:
    found = [_buffer(module, name) for name in STATISTICS]
    return all(buffer is not None and buffer.is_floating_point() for buffer in found)


def _statistics(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Looked up anew each time: a module may put new tensors in their place."""
    return [b for m in modules for name in STATISTICS if (b := m._buffers[name]) is not None]


def _replaced(module: nn.Module, buffers: dict[str, Tensor | None]) -> bool:
    now = module._buffers
    return now.keys() != buffers.keys() or any(now[k] is not b for k, b in buffers.items())


def _is_plain(buffer: Tensor) -> bool:
    """Can it be written in place, all of it?"""
    if is_lazy(buffer) or buffer.layout is not torch.strided:
        return False
    views = buffer.is_quantized or buffer.is_nested or buffer.is_conj() or buffer.is_neg()
    overlaps = any(n > 1 and s == 0 for n, s in zip(buffer.shape, buffer.stride(), strict=True))
    return not views and not overlaps


def _resized(now: Tensor, before: Tensor) -> bool:
    """Some observers learn their shape from the first batch."""
    return now.shape != before.shape


def _set_buffers(module: nn.Module, buffers: dict[str, Tensor | None]) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        return  # its buffers are other Python objects at each look
    if _replaced(module, buffers):
        module._buffers.clear()
        module._buffers.update(buffers)


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    """target ← source, with its shape. In inference mode, where a tensor that was made in it (a
    module may make its buffers anew in an evaluation) can be written to."""
    with torch.inference_mode():
        for target, source in zip(targets, sources, strict=True):
            if _resized(target, source):
                target.resize_(source.shape)
        torch._foreach_copy_(targets, sources)
