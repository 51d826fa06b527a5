"""Several processes: DistributedDataParallel's, each of which may climb by itself, or this one."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

BUCKET_BYTES = 25 * 2**20  # what DDP reduces at once by default


class Reduction(Protocol):
    """Where a step's gradients become means over the processes."""

    def passing(self) -> AbstractContextManager[None]:
        """To be open during a forward and backward pass."""

    def finish(self, base: Optimizer) -> None:
        """When ``p.grad`` is this process's g."""


class InBackward:
    """While backward runs, by DDP, or not at all: one process, or all climb together."""

    def passing(self) -> AbstractContextManager[None]:
        return nullcontext()

    def finish(self, base: Optimizer) -> None:
        pass


class AtTheEnd:
    """Once, of g: each of DDP's processes has climbed by itself."""

    def __init__(self, ddp: DistributedDataParallel):
        self._ddp = ddp

    def passing(self) -> AbstractContextManager[None]:
        return self._ddp.no_sync()

    def finish(self, base: Optimizer) -> None:
        average_gradients(base, self._ddp.process_group)


class OneProcess:
    """…or several whose gradients something else reduces in every backward pass."""

    gradients_are_views = False

    def reduction(self, climbs: bool) -> Reduction:
        return InBackward()


class DataParallel:
    """Those that ``ddp`` trains in."""

    def __init__(self, ddp: DistributedDataParallel, together: bool):
        self._ddp, self._together = ddp, together

    @property
    def gradients_are_views(self) -> bool:
        """Does the next backward pass write over these gradients?"""
        return self._ddp.gradient_as_bucket_view

    def reduction(self, climbs: bool) -> Reduction:
        """Where there is nothing to climb for, DDP's own reduction does, while backward runs.

        Raises:
            RuntimeError: DDP has a static graph, or communication hooks, and each process climbs
                by itself.
        """
        alone = dist.get_world_size(self._ddp.process_group) == 1
        if self._together or alone or not climbs:
            return InBackward()
        self._refuse_what_needs_ddps_own()
        return AtTheEnd(self._ddp)

    def _refuse_what_needs_ddps_own(self) -> None:
        without = "set GNP's sync_climb=True, with which DDP reduces in both passes, or"
        if self._ddp.static_graph:
            raise RuntimeError(
                "DDP with static_graph=True cannot leave out a reduction, and a climb for each "
                f"process has none until its end: {without} build DDP without static_graph"
            )
        if self._ddp._comm_hooks:
            raise RuntimeError(
                "DDP's communication hooks are not called where each process climbs by itself, "
                f"because GNP reduces the gradients then: {without} register no hook"
            )


def processes_of(model: nn.Module | None, together: bool) -> OneProcess | DataParallel:
    """The processes that ``model`` is trained in, as far as it tells.

    Args:
        together: they climb along the gradient of all of them.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile(ddp)
    if isinstance(model, DistributedDataParallel):
        return DataParallel(model, together)
    return OneProcess()


@torch.no_grad()
def average_gradients(base: Optimizer, process_group: "dist.ProcessGroup | None" = None) -> None:
    """``p.grad`` ← its mean over the processes, one all-reduce for each 25 MiB.

    A parameter that has no gradient here gets zero: which have one may differ from process to
    process.
    """
    lists: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for group in base.param_groups:
        for p in group["params"]:
            if p.requires_grad:
                if p.grad is None:
                    p.grad = torch.zeros_like(p)
                lists.setdefault((p.grad.device, p.grad.dtype), []).append(p.grad)
    processes = dist.get_world_size(process_group)
    for grads in lists.values():
        for bucket in _buckets(grads):
            flat = torch.cat([g.reshape(-1) for g in bucket]).div_(processes)
            dist.all_reduce(flat, group=process_group)
            pieces = flat.split([g.numel() for g in bucket])
            torch._foreach_copy_(
                bucket, [f.view_as(g) for f, g in zip(pieces, bucket, strict=True)]
            )


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and size + tensor.nbytes > BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket
