"""How fast this machine trains: a few real passes and batches, timed."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from gnp.data import Augmentation, ImageData, Split, batches
from gnp.settings import Config
from gnp.training.build import build_autocast, build_model, build_optimizer
from gnp.training.device import wait_for
from gnp.training.loop import BatchPasses

FIRST = 2  # images of the pass that says how many can be afforded
LEAST_SECONDS = 0.3  # that passes are repeated for: the clock sees a single small one badly
AUGMENTED = 1000  # images of the epoch that is timed without a network


class Passes:
    """Passes of a config's network over random images, on a device."""

    def __init__(self, config: Config, device: torch.device):
        self._device = device
        channels_last = config.runtime.channels_last
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._model = build_model(config).to(device, memory_format=self._layout)
        self._optimizer = build_optimizer(config, self._model, device)
        self._autocast = build_autocast(config.training.precision, device)

    def training(self, images: int) -> Callable[[], Any]:
        """Forward and backward, on so many images."""
        self._model.train()
        labels = torch.zeros(images, dtype=torch.int64, device=self._device)
        batch = [(self._random(images), labels)]
        return BatchPasses(self._model, self._optimizer, batch, self._autocast, 0.0).closures()[0]

    def evaluation(self, images: int) -> Callable[[], Any]:
        self._model.eval()
        return partial(self._forward, self._random(images))

    def update(self) -> None:
        """The base optimizer's step, after a pass of training."""
        self._optimizer.base.step()

    def _random(self, images: int) -> torch.Tensor:
        inputs = torch.randn(images, 3, 32, 32, device=self._device)
        return inputs.contiguous(memory_format=self._layout)

    @torch.inference_mode()
    def _forward(self, inputs: torch.Tensor) -> None:
        with self._autocast():
            self._model(inputs)


def measure(
    config: Config, flops: dict[str, float], device: torch.device, seconds: float
) -> dict[str, Any]:
    """Times real passes of a network at its batch size, or with as many images as are affordable.

    Args:
        flops: of the network, as ``gnp.training.flops.count`` says.
        seconds: that this should take about; more if two images take longer.

    Returns:
        ``training`` and ``evaluation``: FLOP/s of forward and backward, and of forward alone;
        ``update``: seconds of the base optimizer's step; ``images`` of the passes that were timed,
        and of the ``batch`` that they stand for.
    """
    passes, timed = Passes(config, device), partial(seconds_of, device=device)
    batch = config.training.sharpness_batch or config.training.batch_size
    images = affordable(batch, seconds, lambda n: timed(passes.training(n), least=0.0))
    training = timed(passes.training(images))
    update = timed(passes.update, warm_up=True)
    evaluated = config.runtime.eval_batch_size if images == batch else images
    evaluation = timed(passes.evaluation(evaluated), warm_up=True)
    return {
        "training": flops["training"] * images / training,
        "evaluation": flops["forward"] * evaluated / evaluation,
        "update": update,
        "images": images,
        "batch": batch,
    }


def affordable(batch: int, seconds: float, cost: Callable[[int], float]) -> int:
    """Images of the passes that are timed: the batch, or 2, 4, 8, … of it.

    Args:
        seconds: that all passes should take together.
        cost: a number of images → the seconds of a pass, which is made to find out, and warms up.
    """
    images, spent = min(FIRST, batch), 0.0
    while True:
        took = cost(images)
        spent += took
        more = min(2 * images, batch)
        # One more to find out, one that counts, and two forward, a third of those each.
        if images == batch or spent + (2 + 2 / 3) * took * more / images > seconds:
            return images
        images = more


def measure_augmentation(config: Config, device: torch.device) -> dict[str, Any]:
    """``augmentation``: seconds an image, from uint8 images to batches."""
    images = max(AUGMENTED, config.training.batch_size)
    pixels = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.arange(images, device=device) % config.dataset.num_classes
    split, classes = Split(pixels, labels), config.dataset.num_classes
    data = ImageData(split, split, "test", classes, config.dataset.mean, config.dataset.std)
    augmentation, generator = Augmentation(config.augmentation), torch.Generator(device)

    def epoch() -> None:
        for _ in batches(
            data, config.training.batch_size, augmentation, generator, drop_last=False
        ):
            pass

    return {"augmentation": seconds_of(epoch, device, warm_up=True) / images}


def seconds_of(
    call: Callable[[], Any],
    device: torch.device,
    warm_up: bool = False,
    least: float = LEAST_SECONDS,
) -> float:
    """Mean of as many calls as ``least`` seconds take, of one at least.

    One thread on the CPU is timed by what it gets of its core: what others take of it meanwhile is
    not the network's.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    if warm_up:
        call()
    wait_for(device)
    calls, started = 0, clock()
    while calls == 0 or clock() - started < least:
        call()
        calls += 1
        wait_for(device)
    return (clock() - started) / calls
