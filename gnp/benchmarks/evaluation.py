"""Evaluation by the number of images at a time."""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from gnp.benchmarks.results import Measured, markdown_table
from gnp.benchmarks.timing import take_turns, to_baseline
from gnp.data import ImageData, Split
from gnp.settings import RuntimeSettings
from gnp.training.device import prepare_device
from gnp.training.loop import evaluate
from models import VGG, WideResNet
from models.vit import vit

IMAGES = 1000
SIZES = (50, 100, 250, 500, 1000)


def by_batch_size(
    model: nn.Module, images: int, device: torch.device, rounds: int, sizes: Sequence[int] = SIZES
) -> dict[str, dict[str, float]]:
    """{size: ms an evaluation of so many images, and its ratio to that with 500 at a time}."""
    model = model.to(device, memory_format=torch.channels_last)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    split = Split(pixels, torch.randint(10, (images,))).to(device)
    data = ImageData(split, split, "test", 10, (0.5,) * 3, (0.25,) * 3)
    steps = {
        str(size): partial(evaluate, model, data, device, nullcontext, size, torch.channels_last)
        for size in sizes
    }
    seconds = take_turns(steps, rounds, 1, device)
    return {name: to_baseline(own, seconds["500"]) for name, own in seconds.items()}


def measure(arguments: argparse.Namespace, device: torch.device) -> Measured:
    prepare_device(RuntimeSettings(device=str(device), threads=arguments.threads))
    networks = {
        "VGG16-BN × 1/8": VGG(batch_norm=True, width=0.125),
        "WRN-10-1": WideResNet(depth=10, width=1),
        "ViT, 4 blocks of 64": vit(width=64, depth=4, heads=2),
    }
    results = {
        name: by_batch_size(network, IMAGES, device, arguments.rounds)
        for name, network in networks.items()
    }
    rows = [
        [name, *(f"{sizes[str(size)]['ratio']:.2f}" for size in SIZES)]
        for name, sizes in results.items()
    ]
    note = (
        f"Time of an evaluation of {IMAGES} images to that with 500 at a time (the setting's "
        f"default), medians of {arguments.rounds} rounds."
    )
    head = ["images at a time", *(str(size) for size in SIZES)]
    return Measured(
        "Evaluation by the images at a time",
        results,
        markdown_table(head, rows),
        note,
        ["ms", "ratio", "lowest", "highest"],
    )
