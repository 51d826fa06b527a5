"""A device that is none: torch's fake tensors have shapes, and nothing that a host could read.

Of the devices that torch knows, fake tensors on "lazy" go through backward passes on a machine
without any accelerator, and what is put there from the host is seen as a copy.
"""

from contextlib import contextmanager, nullcontext
from types import ModuleType

import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gnp.data import ImageData, Split

DEVICE = torch.device("lazy", 0)
aten = torch.ops.aten


class Crossing(AssertionError):
    """An operation has tensors of two devices: it copies between them, and the host waits."""


class OneDevice(TorchDispatchMode):
    """Raises at operations that see two devices. What is on the host alone (AdamW's count of
    steps) may be read there, if the device is not the host. While it is not ``strict`` all are
    let through."""

    def __init__(self, device=DEVICE):
        super().__init__()
        self.device, self.strict = device, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is aten._sample_dirichlet.default:  # torch has no fake of it
            return torch.empty_like(args[0])
        if func is aten._local_scalar_dense.default and args[0].device != self.device:
            return 1.0
        out = func(*args, **(kwargs or {}))
        found = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
        if self.strict and len({t.device for t in found}) > 1:
            raise Crossing(f"{func}: {[(str(t.device), tuple(t.shape)) for t in found]}")
        return out


def generator_of(device):
    """A class of generators that say they are the device's. Fake draws ask for nothing else."""

    class Generator(torch.Generator):
        def __new__(cls, device=None):
            return super().__new__(cls)

    Generator.device = device
    return Generator


@contextmanager
def fake_device(monkeypatch, device=DEVICE):
    """Inside, tensors are fake ones (but on the meta device, where all are), and ``device`` has
    what torch's real ones have."""
    if device.type != "cpu":
        monkeypatch.setattr(torch, "Generator", generator_of(device))
    if device == DEVICE:
        module = ModuleType("lazy")
        module.get_rng_state = lambda device: torch.get_rng_state()
        module.set_rng_state = lambda state, device: None
        module.is_available = lambda: False  # AdamW asks whether it is in a graph's capture
        monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    with nullcontext() if device.type == "meta" else FakeTensorMode():
        yield


def fake_images(device, images=64, classes=10):
    train, test = (
        Split(
            torch.zeros(n, 3, 32, 32, dtype=torch.uint8, device=device),
            torch.zeros(n, dtype=torch.int64, device=device),
        )
        for n in (images, 8)
    )
    return ImageData(train, test, "test", classes, (0.5,) * 3, (0.25,) * 3)
