"""Where runs are trained: slots on the GPUs or on the CPU, each for one child at a time."""

import os
import subprocess
from dataclasses import dataclass, field

from gnp.settings import ConfigError


@dataclass(frozen=True)
class Slot:
    """A place where one child runs: what it adds to the environment and to the settings."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()


def choose_slots(device: str, jobs: int | None) -> list[Slot]:
    """GPU slots where there are GPUs and they are wanted, else CPU slots.

    Args:
        device: "auto", "cpu" or "cuda".
        jobs: runs at a time, on each GPU or on the CPU; None for the default of either.

    Raises:
        ConfigError: "cuda" where there is no GPU.
    """
    slots = [] if device == "cpu" else gpu_slots(jobs)
    if not slots and device == "cuda":
        raise ConfigError("device=cuda, but nvidia-smi lists no GPU")
    return slots or cpu_slots(jobs, available_cores())


def cpu_slots(jobs: int | None, cores: int) -> list[Slot]:
    """``jobs`` slots (one a core by default) that share the cores' threads."""
    jobs = jobs or cores
    threads = max(1, cores // jobs)
    return [
        Slot(
            f"cpu{i}",
            {"OMP_NUM_THREADS": str(threads)},
            (f"runtime.threads={threads}", "runtime.device=cpu"),
        )
        for i in range(jobs)
    ]


def gpu_slots(jobs: int | None) -> list[Slot]:
    """``jobs`` slots a GPU (one by default) that CUDA_VISIBLE_DEVICES or nvidia-smi lists."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        try:
            listed = subprocess.run(
                ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            ).stdout
        except (OSError, subprocess.SubprocessError):
            return []
        visible = ",".join(listed.split())
    gpus = [gpu.strip() for gpu in visible.split(",") if gpu.strip() not in ("", "-1")]
    return [
        Slot(
            f"gpu{gpu}" + (f".{i}" if i else ""),
            {"CUDA_VISIBLE_DEVICES": gpu},
            ("runtime.device=cuda",),
        )
        for i in range(jobs or 1)
        for gpu in gpus
    ]


def available_cores() -> int:
    """Cores that this process may use; systems other than Linux do not say, so all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
