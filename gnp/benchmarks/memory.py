"""Peak memory of a step."""

import weakref
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are made while it is active and not freed yet; the CPU
    has no such counter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        known = {
            t.untyped_storage().data_ptr()
            for t in tree_leaves((args, kwargs))
            if isinstance(t, Tensor)
        }
        for t in tree_leaves(out):
            storage = t.untyped_storage() if isinstance(t, Tensor) else None
            if storage is None or storage.data_ptr() in known or storage.data_ptr() in self.live:
                continue
            pointer = storage.data_ptr()
            self.live[pointer] = storage.nbytes()
            weakref.finalize(t, self.live.pop, pointer, None)
        self.peak = max(self.peak, sum(self.live.values()))
        return out


def peak_memory(
    step: Callable[[], object], reset: Callable[[], object], device: torch.device
) -> float:
    """MB above the resting state during a step, after two steps that settle it: the most of five
    steps, for methods whose steps differ."""
    for _ in range(2):
        step()
    reset()
    if device.type != "cuda":
        with LiveBytes() as counted:
            for _ in range(5):
                step()
        return counted.peak / 2**20
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    resting = torch.cuda.memory_allocated(device)
    for _ in range(5):
        step()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - resting) / 2**20
