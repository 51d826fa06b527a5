"""The device of a run, and torch's settings for the whole process that go with it."""

import os

import torch

from gnp.settings import ConfigError, RuntimeSettings
from gnp.training.allocator import keep_freed_memory
from gnp.training.compiler import defer_compiler
from gnp.training.distributed import launched, local_rank


def prepare_device(runtime: RuntimeSettings) -> torch.device:
    """The device of ``runtime.device``, with the process-wide settings that go with it.

    Raises:
        ConfigError: an unknown device, or CUDA where there is none.
    """
    if runtime.compile is None:
        defer_compiler()
    device = _choose(runtime.device)
    if device.type == "cpu":
        keep_freed_memory()
    _check_backend(runtime.compile)
    if launched() and device.type == "cuda":
        torch.cuda.set_device(device)
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    # Set in both directions: a sweep runs several configs in one process. (But not to what it is:
    # the call imports torch.compile's backends, which takes a second.)
    if torch.are_deterministic_algorithms_enabled() != runtime.deterministic:
        torch.use_deterministic_algorithms(runtime.deterministic)
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS's condition for it
    torch.backends.cudnn.benchmark = device.type == "cuda" and not runtime.deterministic
    return device


def wait_for(device: torch.device) -> None:
    """Until all that was asked of it is done."""
    if device.type != "cpu":
        torch.get_device_module(device.type).synchronize(device)


def device_name(device: torch.device) -> str:
    """What the record calls it: a GPU's model, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _check_backend(name: str | None) -> None:
    if name == "cudagraphs":  # seen on an H200, with torch 2.11
        raise ConfigError(
            "runtime.compile=cudagraphs: its graphs overwrite what a pass returned before the step "
            "has read it; use inductor"
        )
    if name is not None and name not in (known := torch._dynamo.list_backends(exclude_tags=())):
        usable = ", ".join(sorted({*known} - {"cudagraphs"}))
        raise ConfigError(
            f"runtime.compile={name}: torch.compile has no such backend; it has {usable}"
        )


def _choose(name: str) -> torch.device:
    """ "auto" is CUDA where there is some; each process of ``torchrun`` has a GPU of its own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if launched() and name == "cuda":
        name = f"cuda:{local_rank()}"
        if local_rank() >= torch.cuda.device_count() > 0:
            raise ConfigError(
                f"torchrun started more processes here than there are GPUs "
                f"({torch.cuda.device_count()}); lower --nproc_per_node"
            )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"runtime.device={name!r}: expected auto, cpu, cuda or cuda:N") from error
    if device.type != "cpu":
        module = torch.get_device_module(device.type)
        count = module.device_count() if module.is_available() else 0
        if count == 0:
            called = {"cuda": "CUDA"}.get(device.type, device.type)
            raise ConfigError(
                f"runtime.device={name}, but torch sees no {called} device; use auto or cpu"
            )
        if (device.index or 0) >= count:
            raise ConfigError(
                f"runtime.device={name}, but torch sees {count} (0 to {count - 1}) here"
            )
    return device
