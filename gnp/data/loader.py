"""Batches of an epoch, made on the device."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gnp.data.augmentation import Augmentation
from gnp.data.dataset import ImageData


class Normalise:
    """uint8 (N, 3, H, W) → float32, (x/255 − mean)/std per channel.

    The constants are put on the device once: copying them there for each batch would wait for the
    device at each step.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device):
        scale = [1 / (255 * s) for s in std]
        shift = [-m / s for m, s in zip(mean, std, strict=True)]
        self._scale, self._shift = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (scale, shift)
        )

    def __call__(self, images: Tensor) -> Tensor:
        return images.float().mul_(self._scale).add_(self._shift)


def batches(
    data: ImageData,
    batch_size: int,
    augmentation: Augmentation,
    generator: torch.Generator,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: (images float (B, 3, H, W), labels int64 (B,)) in an order from ``generator``.

    The last N mod B images of the order are left out ("Fidelity" in the README). ``generator``
    lives on the data's device; the epoch is a pure function of its state.
    """
    train = data.train
    normalise = Normalise(data.mean, data.std, train.images.device)
    order = torch.randperm(len(train), generator=generator, device=train.labels.device)
    for indices in order[: len(train) // batch_size * batch_size].split(batch_size):
        images = augmentation.geometry(train.images[indices], generator)
        images = augmentation.erase(normalise(images), generator)
        yield images.contiguous(memory_format=memory_format), train.labels[indices]
