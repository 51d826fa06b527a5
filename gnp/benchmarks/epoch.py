"""An epoch of training: ours, and a straightforward loop such as one would write: torchvision's
transforms in a DataLoader, and the climb in plain Python."""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from gnp.benchmarks.input import IMAGES, WORKERS, data_of, loader_of, noise
from gnp.benchmarks.results import Measured, markdown_table
from gnp.benchmarks.timing import take_turns, to_baseline
from gnp.benchmarks.training_step import compose_run
from gnp.data import Split, batches
from gnp.settings import Config
from gnp.training.build import (
    build_augmentation,
    build_autocast,
    build_model,
    build_optimizer,
    build_schedules,
    steps_per_epoch,
)
from gnp.training.device import prepare_device
from gnp.training.loop import train_epoch

NETWORKS = {
    "VGG16-BN × 1/8": ["experiment=mini/vgg16_bn"],
    "WRN-10-1": ["experiment=mini/wrn_28_10"],
}
METHODS = ("sgd", "gnp")


def measure(arguments: argparse.Namespace, device: torch.device) -> Measured:
    results = {
        f"{network}, {method.upper()}": in_turns(
            compose_run([*settings, f"optimizer={method}", f"runtime.device={device}"]),
            arguments.rounds,
        )
        for network, settings in NETWORKS.items()
        for method in METHODS
    }
    rows = [
        [name, f"{n['ours']['ms'] / 1000:.2f}", f"{n['straightforward']['ms'] / 1000:.2f}",
         f"{n['straightforward']['ratio']:.2f}",
         f"{n['straightforward']['lowest']:.2f}–{n['straightforward']['highest']:.2f}"]
        for name, n in results.items()
    ]  # fmt: skip
    note = (
        f"Epochs of {IMAGES} images with basic augmentation, in turns, {arguments.rounds} rounds. "
        f"The straightforward loop has torchvision's transforms in a DataLoader with {WORKERS} "
        f"worker processes, zero_grad, backward, step and loss.item() a step, and for GNP a climb, "
        f"a second backward pass and a mix, parameter by parameter."
    )
    return Measured(
        "An epoch, and a straightforward one",
        results,
        markdown_table(["", "ours, s", "straightforward, s", "of ours", "range"], rows),
        note,
        ["ms", "ratio", "lowest", "highest"],
    )


def in_turns(config: Config, rounds: int) -> dict[str, dict[str, float]]:
    device = prepare_device(config.runtime)
    split = noise(IMAGES)
    loader = loader_of(config, split, device, WORKERS)
    steps = {
        "straightforward": _straightforward(config, loader, device),
        "ours": _ours(config, split.to(device), device),
    }
    seconds = take_turns(steps, rounds, 1, device)
    return {name: to_baseline(own, seconds["ours"]) for name, own in seconds.items()}


def _ours(config: Config, split: Split, device: torch.device) -> Callable[[], object]:
    model = _network(config, device)
    optimizer = build_optimizer(config, model, device)
    schedules = build_schedules(config, optimizer, steps_per_epoch(config, IMAGES))
    augmentation, generator = build_augmentation(config), torch.Generator(device).manual_seed(0)
    autocast = build_autocast(config.training.precision, device)
    size = config.training.batch_size
    return lambda: train_epoch(
        model,
        optimizer,
        schedules,
        batches(data_of(config, split), size, augmentation, generator, torch.channels_last),
        device,
        autocast,
    )


def _straightforward(
    config: Config, loader: DataLoader, device: torch.device
) -> Callable[[], object]:
    model, chosen = _network(config, device), config.optimizer
    optimizer = torch.optim.SGD(
        model.parameters(), chosen.lr, momentum=0.9, weight_decay=chosen.weight_decay
    )

    def epoch() -> float:
        model.train()
        total = 0.0
        for images, labels in loader:
            images = images.to(device).contiguous(memory_format=torch.channels_last)
            labels = labels.to(device)
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            loss.backward()
            if chosen.alpha > 0:
                _second_pass(model, images, labels, chosen.r, chosen.alpha)
            optimizer.step()
            total += loss.item()
        return total

    return epoch


def _second_pass(model: nn.Module, images: Tensor, labels: Tensor, r: float, alpha: float) -> None:
    """Leaves GNP's mix where the first gradient was."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    first = [p.grad.clone() for p in parameters]
    norm = torch.stack([g.norm() for g in first]).norm().item()
    before = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, g in zip(parameters, first, strict=True):
            p += r / (norm + 1e-12) * g
    model.zero_grad()
    cross_entropy(model(images), labels).backward()
    with torch.no_grad():
        for p, g, old in zip(parameters, first, before, strict=True):
            p.copy_(old)
            p.grad = (1 - alpha) * g + alpha * p.grad


def _network(config: Config, device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    return build_model(config).to(device, memory_format=torch.channels_last)
