"""Batches of an epoch, made on the device."""

from collections.abc import Callable, Iterator, Sequence

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
    drop_last: bool = True,
    share: Callable[[int], slice] = slice,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in an order from ``generator``, which lives on the data's device.

    Yields images float (B, 3, H, W) and targets: labels int64 (B,), or mixtures of labels float32
    (B, classes) where the augmentation mixes images. The epoch is a pure function of the
    generator's state.

    Args:
        drop_last: leave out the last N mod B images of the order ("Fidelity" in
            configs/README.md), or give them as a smaller batch.
        share: size of a batch → its rows that are yielded. A batch is always drawn and augmented
            as a whole, so that several processes that take a share each see together what one
            would see alone.
    """
    train = data.train
    normalise = Normalise(data.mean, data.std, train.images.device)
    order = torch.randperm(len(train), generator=generator, device=train.labels.device)
    if drop_last:
        order = order[: len(train) // batch_size * batch_size]
    images = augmentation.whole_epoch(train.images, generator)
    for chosen in order.split(batch_size):
        inputs, targets = augmentation.batch(
            images[chosen], train.labels[chosen], normalise, data.num_classes, generator
        )
        rows = share(len(inputs))
        yield inputs[rows].contiguous(memory_format=memory_format), targets[rows]
