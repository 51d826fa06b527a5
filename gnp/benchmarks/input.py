"""The input pipeline: epochs of augmented batches by ours, on the device, and by torchvision's
transforms in a DataLoader with worker processes, which a loop would have instead."""

import argparse
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import v2

from gnp.benchmarks.results import Measured, markdown_table
from gnp.benchmarks.timing import ratios, take_turns
from gnp.benchmarks.training_step import compose_run
from gnp.data import ImageData, Split, batches
from gnp.settings import AugmentationSettings, Config
from gnp.training.build import build_augmentation
from gnp.training.device import device_name, prepare_device

IMAGES, WORKERS = 5000, 2  # of an epoch, and of the DataLoader, on two cores
AUGMENTATIONS = ("basic", "cutout", "autoaugment", "autoaugment_cutmix")


class Pictures(Dataset):
    """Images as torchvision's data sets keep them, each transformed when it is asked for."""

    def __init__(self, split: Split, transform: v2.Transform):
        self._images, self._labels = split.images.permute(0, 2, 3, 1).numpy(), split.labels.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._images[index]), self._labels[index]


def torchvisions(chosen: AugmentationSettings, mean: Sequence[float], std: Sequence[float]) -> Any:
    """torchvision's transforms for an augmentation of ours: what is done to each image, and to a
    batch of them. Its RandomErasing, of a square of the same area, stands for Cutout."""
    each: list[Any] = [v2.ToPILImage()]
    if chosen.autoaugment:
        each.append(v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10))
    if chosen.flip:
        each.append(v2.RandomHorizontalFlip())
    if chosen.crop_padding:
        each.append(v2.RandomCrop(32, padding=chosen.crop_padding, padding_mode="reflect"))
    each += [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    if chosen.cutout:
        area = chosen.cutout**2 / 32**2
        each.append(v2.RandomErasing(p=1.0, scale=(area, area), ratio=(1.0, 1.0)))
    mixing = {"mixup": v2.MixUp, "cutmix": v2.CutMix}.get(chosen.mixing)
    mix = mixing(num_classes=10, alpha=chosen.mixing_alpha) if mixing else None
    return v2.Compose(each), mix


def measure(arguments: argparse.Namespace, device: torch.device) -> Measured:
    results = {
        name: measure_input(
            ["dataset=cifar10", f"augmentation={name}", f"runtime.device={device}"],
            IMAGES,
            WORKERS,
            arguments.rounds,
        )
        for name in AUGMENTATIONS
    }
    rows = [
        [name, f"{n['images_per_second']:.0f}", f"{n['torchvision']:.0f}", f"{n['ratio']:.1f}"]
        for name, n in results.items()
    ]
    note = (
        f"Images a second, epochs of {IMAGES} in turns, {arguments.rounds} rounds; torchvision's "
        f"transforms image by image in a DataLoader with {WORKERS} worker processes."
    )
    return Measured(
        "Augmented batches",
        {"images a second": results},
        markdown_table(["augmentation", "ours", "torchvision", "ours to its"], rows),
        note,
        ["images_per_second", "torchvision", "ratio", "workers"],
    )


def measure_input(
    settings: Sequence[str], images: int, workers: int, rounds: int
) -> dict[str, Any]:
    """Images a second of both, who take turns with an epoch each, and the median ratio.

    Args:
        settings: a run's command line.
        images: of an epoch; they are noise.
        workers: processes of the DataLoader.
    """
    config = compose_run(settings)
    device = prepare_device(config.runtime)
    split = noise(images)
    steps = {  # the loader's workers are there before the device is used, and stay
        "torchvision": _their_epoch(loader_of(config, split, device, workers), device),
        "ours": _our_epoch(config, data_of(config, split.to(device)), device),
    }
    seconds = take_turns(steps, rounds, 1, device)
    own, other = seconds["ours"], seconds["torchvision"]
    done = images // config.training.batch_size * config.training.batch_size
    return {
        "device": device_name(device),
        "images_per_second": done / statistics.median(own),
        "torchvision": done / statistics.median(other),
        "ratio": statistics.median(ratios(other, own)),
        "workers": workers,
    }


def noise(images: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Split(pixels, torch.randint(10, (images,), generator=generator))


def data_of(config: Config, split: Split) -> ImageData:
    mean, std = tuple(config.dataset.mean), tuple(config.dataset.std)
    return ImageData(split, split, "test", 10, mean, std)


def _our_epoch(config: Config, data: ImageData, device: torch.device) -> Callable[[], object]:
    augmentation, generator = build_augmentation(config), torch.Generator(device).manual_seed(0)
    size = config.training.batch_size
    return lambda: _go_through(batches(data, size, augmentation, generator))


def _their_epoch(loader: DataLoader, device: torch.device) -> Callable[[], object]:
    return lambda: _go_through(
        (images.to(device, non_blocking=True), labels.to(device, non_blocking=True))
        for images, labels in loader
    )


def loader_of(config: Config, split: Split, device: torch.device, workers: int) -> DataLoader:
    each, mix = torchvisions(config.augmentation, config.dataset.mean, config.dataset.std)
    return DataLoader(
        Pictures(split, each),
        config.training.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        collate_fn=_Collate(mix),
    )


class _Collate:
    """Workers need it as what can be pickled."""

    def __init__(self, mix: Any):
        self._mix = mix

    def __call__(self, samples: list[Any]) -> Any:
        batch = default_collate(samples)
        return batch if self._mix is None else self._mix(*batch)


def _go_through(epoch: Iterable[Any]) -> None:
    for _ in epoch:
        pass
