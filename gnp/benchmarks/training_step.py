"""A training step of a network, as a run makes it: the plain base, SAM and GNP in turns."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from gnp.benchmarks.memory import peak_memory
from gnp.benchmarks.timing import take_turns, time_steps, to_baseline
from gnp.settings import Config, validate
from gnp.training.build import build_autocast, build_model, build_optimizer
from gnp.training.device import device_name, prepare_device
from gnp.training.loop import BatchPasses

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# Method → settings that make it of an experiment with a penalty.
METHODS = {
    "plain": ["optimizer.alpha=0.0"],
    "SAM": ["optimizer.alpha=1.0"],
    "GNP": ["optimizer.alpha=0.8"],
}


@dataclass(frozen=True)
class Effort:
    """How long is measured: ``rounds`` turns of each method, each of about ``seconds`` of the plain
    method's steps."""

    rounds: int = 7
    seconds: float = 0.3


def compose_run(settings: Sequence[str]) -> Config:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return validate(compose("train", list(settings)))


def measure_step(
    settings: Sequence[str], combination: Sequence[str], effort: Effort
) -> dict[str, Any]:
    """A network's step with a combination of precision, compiler and memory format.

    Args:
        settings: a run's command line.
        combination: the rest of it, which is measured.

    Returns:
        "device"; "settings", the combination; "batch_size"; "rounds"; "first_step", the seconds
        that the first step took, compilation included; "methods": {method: {"ms", "ratio" to the
        plain step of the same round, "lowest", "highest", "images_per_second", and on CUDA "MB":
        the peak above the resting state}}.
    """
    configs = {
        name: compose_run(["optimizer=gnp", *settings, *combination, *own])
        for name, own in METHODS.items()
    }
    config = configs["plain"]
    device = prepare_device(config.runtime)
    torch.manual_seed(0)
    layout = torch.channels_last if config.runtime.channels_last else torch.contiguous_format
    model = build_model(config).to(device, memory_format=layout).train()
    backend = config.runtime.compile
    forward = torch.compile(model, backend=backend) if backend else model
    size = config.training.batch_size
    images = torch.randn(size, 3, 32, 32, device=device).contiguous(memory_format=layout)
    labels = torch.randint(config.dataset.num_classes, (size,), device=device)
    # The methods take their steps from the same weights, each with a momentum of its own.
    steps = {
        name: one_step(own, model, forward, (images, labels), device)
        for name, own in configs.items()
    }
    started = time.perf_counter()
    time_steps(steps["GNP"], 1, device)
    first_step = time.perf_counter() - started
    plain = time_steps(steps["plain"], 3, device)
    count = min(max(round(effort.seconds / plain), 1), 200)
    seconds = take_turns(steps, effort.rounds, count, device)
    methods = {name: to_baseline(own, seconds["plain"]) for name, own in seconds.items()}
    for name, step in steps.items():
        methods[name]["images_per_second"] = size / statistics.median(seconds[name])
        if device.type == "cuda":
            methods[name]["MB"] = peak_memory(step, model.zero_grad, device)
    return {
        "device": device_name(device),
        "settings": list(combination),
        "batch_size": size,
        "rounds": effort.rounds,
        "first_step": first_step,
        "methods": methods,
    }


def one_step(
    config: Config,
    model: nn.Module,
    forward: nn.Module,
    batch: tuple[Tensor, Tensor],
    device: torch.device,
) -> Callable[[], object]:
    optimizer = build_optimizer(config, model, device)
    autocast = build_autocast(config.training.precision, device)
    return partial(_step, optimizer, forward, batch, autocast, config.training.label_smoothing)


def _step(optimizer, forward, batch, autocast, label_smoothing) -> None:
    passes = BatchPasses(forward, optimizer, [batch], autocast, label_smoothing)
    optimizer.step(passes.closures())
