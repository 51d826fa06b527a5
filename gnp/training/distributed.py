"""The processes of one run: this one alone, or those that ``torchrun`` started.

A run is the same experiment in any number of processes. Each batch is drawn and augmented as a
whole in every process, which then trains on its share; who climbs together is a setting
(``training.sharpness_batch``), not a consequence of how many processes there are.
"""

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from gnp.settings import Config, ConfigError

T = TypeVar("T")

# Running statistics are averaged before each evaluation; DDP would send the first process's to all
# in each forward pass. The argument's name changed in torch 2.14.
_ddp_arguments = inspect.signature(DistributedDataParallel).parameters
BUFFERS_STAY = {
    "forward_sync_buffers"
    if "forward_sync_buffers" in _ddp_arguments
    else "broadcast_buffers": False
}


@dataclass(frozen=True)
class Processes:
    """This process's place among them."""

    rank: int = 0
    count: int = 1

    @property
    def main(self) -> bool:
        """Does this one write the record, and speak?"""
        return self.rank == 0

    def share(self, images: int) -> slice:
        """This one's rows of so many; shares differ by at most one row."""
        bounds = [images * rank // self.count for rank in (self.rank, self.rank + 1)]
        return slice(*bounds)

    def sum(self, tensor: Tensor) -> Tensor:
        return self._reduced(tensor, dist.ReduceOp.SUM)

    def minimum(self, tensor: Tensor) -> Tensor:
        return self._reduced(tensor, dist.ReduceOp.MIN)

    def _reduced(self, tensor: Tensor, operation: Any) -> Tensor:
        if self.count == 1:
            return tensor
        tensor = tensor.clone()
        dist.all_reduce(tensor, operation)
        return tensor

    def from_main(self, value: Any) -> Any:
        """What the main process passed, in all of them; the others' ``value`` is ignored."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def main_first(self, load: Callable[[], T]) -> T:
        """Each calls ``load``, the others when the main process has: they find what it has left on
        the disk, once downloaded and once decoded."""
        if self.main:
            loaded = load()
        self.from_main(None)
        return loaded if self.main else load()


def launched() -> bool:
    """Did ``torchrun`` start this process?"""
    return dist.is_available() and dist.is_torchelastic_launched()


def local_rank() -> int:
    """This process's number on its machine, and so of its GPU; 0 without ``torchrun``."""
    return int(os.environ["LOCAL_RANK"]) if launched() else 0


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """Join the others that ``torchrun`` started, with NCCL on CUDA and gloo on the CPU.

    After an exception nothing is said to the others: this process ends, and ``torchrun`` ends
    them.
    """
    if not launched():
        yield Processes()
        return
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        device_id=device if device.type == "cuda" else None,
    )
    yield Processes(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()


def check_shares(config: Config, processes: Processes) -> None:
    """Each process must have whole pieces of each batch, all of one size.

    Raises:
        ConfigError: it has not.
    """
    training, count = config.training, processes.count
    if count == 1:
        return
    own, rest = divmod(training.batch_size, count)
    if rest:
        raise ConfigError(
            f"training.batch_size={training.batch_size} cannot be shared by {count} processes"
        )
    if not training.drop_last:
        raise ConfigError(f"training.drop_last=false needs one process, not {count}")
    if training.sharpness_batch is not None and own % training.sharpness_batch:
        raise ConfigError(
            f"each of {count} processes has {own} images of a batch, which are no whole pieces of "
            f"training.sharpness_batch={training.sharpness_batch}"
        )
    every = config.optimizer.reference_every
    if (training.sharpness_batch or own) % every:
        raise ConfigError(
            f"optimizer.reference_fraction=1/{every} does not divide a process's {own} images"
        )


def normalise_together(model: nn.Module, config: Config, device: torch.device) -> nn.Module:
    """The network for several processes whose images climb together: its batch norms take the
    whole batch's statistics. Where each climbs by itself, each has its own, as the official code.

    Raises:
        ConfigError: on the CPU, for which torch has no such batch norm; a batch norm of a kind that
            would lose what it does beside normalising.
    """
    together = config.training.sharpness_batch is None
    if not together or not any(isinstance(m, _BatchNorm) for m in model.modules()):
        return model
    if device.type == "cpu":
        raise ConfigError(
            "a network with batch norm in several CPU processes needs training.sharpness_batch=…, "
            "at most a process's share of the batch: each process then climbs and normalises by "
            "itself, as in the official code. (torch has batch norm over processes for GPUs only.)"
        )
    kinds = {type(module) for module in model.modules() if isinstance(module, _BatchNorm)}
    if kinds <= {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm}:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    # torch's conversion puts a plain batch norm in the place of each, without the activation that
    # timm's have in them; timm's knows its own kinds, and leaves others as torch does.
    from timm.layers import BatchNormAct2d, convert_sync_batchnorm

    known = (BatchNormAct2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    if strange := sorted(kind.__name__ for kind in kinds - set(known)):
        raise ConfigError(
            f"a network with {strange[0]} cannot be trained by several processes whose images "
            f"climb together: it would become a plain batch norm; set training.sharpness_batch=…, "
            f"at most a process's share of the batch"
        )
    return convert_sync_batchnorm(model)


def in_parallel(
    model: nn.Module, config: Config, device: torch.device, processes: Processes
) -> tuple[nn.Module, nn.Module]:
    """The network as several processes train it, and what they call in its place: DDP around it,
    which averages gradients. One process has the network itself, twice."""
    if processes.count == 1:
        return model, model
    model = normalise_together(model, config, device)
    return model, DistributedDataParallel(model, **BUFFERS_STAY)
