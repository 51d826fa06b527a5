"""Evaluation by the number of images at a time."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from gnp.benchmarks.timing import take_turns, to_baseline
from gnp.data import ImageData, Split
from gnp.training.loop import evaluate

SIZES = (50, 100, 250, 500, 1000, 2000)


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
