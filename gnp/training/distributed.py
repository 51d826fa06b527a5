"""The processes of one run: this one alone, or those that ``torchrun`` started.

A run is the same experiment in any number of processes. Each batch is drawn and augmented as a
whole in every process, which then trains on its share; who climbs together is a setting
(``training.sharpness_batch``), not a consequence of how many processes there are.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


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
