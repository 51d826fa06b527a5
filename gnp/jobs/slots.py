"""Where runs are trained: slots on the GPUs or on the CPU, each for one child at a time."""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from gnp.settings import ConfigError

GPU_NAME = re.compile(r"\d+|(GPU|MIG)-[\w/-]+")
ANSWER = "usable GPU "
ASK_TORCH = f"""
import torch
for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    try:
        torch.ones(2, device=f"cuda:{{i}}").sum().item()
    except Exception:
        continue
    print({ANSWER!r} + str(i))
"""


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
        raise ConfigError("device=cuda, but torch sees no GPU that it can use")
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
    """``jobs`` slots a GPU (one by default) that torch can use, by their names in
    CUDA_VISIBLE_DEVICES (0, GPU-…, MIG-…) where that is set, else by their numbers."""
    return [
        Slot(
            f"gpu{gpu}" + (f".{i}" if i else ""),
            {"CUDA_VISIBLE_DEVICES": gpu},
            ("runtime.device=cuda",),
        )
        for i in range(jobs or 1)
        for gpu in gpus()
    ]


def gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES has to be for each GPU that torch can use, alone."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return usable_gpus({})
    names = [name.strip() for name in visible.split(",")]
    # CUDA's rule: what follows a name that is none is not visible.
    names = list(itertools.takewhile(lambda name: GPU_NAME.fullmatch(name), names))
    if not names:
        return []
    if all(name.startswith("MIG-") for name in names):  # a process sees one of them only
        return [name for name in names if usable_gpus({"CUDA_VISIBLE_DEVICES": name})]
    return [names[int(i)] for i in usable_gpus({"CUDA_VISIBLE_DEVICES": ",".join(names)})]


def usable_gpus(environment: Mapping[str, str]) -> list[str]:
    """The numbers of the GPUs that torch computes with, asked in a process of its own: a driver may
    list GPUs that torch cannot use, and this process needs no torch."""
    try:
        asked = subprocess.run(
            [sys.executable, "-c", ASK_TORCH],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.removeprefix(ANSWER) for line in asked.stdout.splitlines() if ANSWER in line]


def available_cores() -> int:
    """Cores that this process may use (in a SLURM job: its share of them); systems other than Linux
    do not say, so all of them."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    share = os.environ.get("SLURM_CPUS_PER_TASK", "")  # not every SLURM binds a job to its own
    return min(cores, int(share)) if share.isdecimal() and int(share) else cores
