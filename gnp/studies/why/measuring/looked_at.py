"""A run's network with the weights of one epoch, and the images that it is looked at with."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from gnp.data import Augmentation, ImageData, Normalise, Split
from gnp.jobs import FinishedRun
from gnp.settings import Config, run_path
from gnp.studies.why.measuring.loss import Batch, BatchLoss
from gnp.tracking.compare import config_hash
from gnp.training.build import build_autocast
from gnp.training.evaluation import Places, TrainedRun
from gnp.training.probe import few_batches, unnoticed
from gnp.training.seeds import stream_seed
from gnp.training.snapshots import read_snapshot


@dataclass(frozen=True)
class LookedAt:
    """``model`` is in training mode; to be used within ``looking``."""

    model: nn.Module
    config: Config
    data: ImageData
    device: torch.device

    @cached_property
    def memory_format(self) -> torch.memory_format:
        last = self.config.runtime.channels_last
        return torch.channels_last if last else torch.contiguous_format

    @property
    def smoothing(self) -> float:
        return self.config.training.label_smoothing

    def drawn(self, stream: str, epoch: int, count: int) -> list[Batch]:
        """Training batches as in training: of its size, shuffled, augmented."""
        generator = torch.Generator(self.device)
        generator.manual_seed(stream_seed(self.config.seed, stream, epoch))
        augmentation = Augmentation(self.config.augmentation)
        found = few_batches(
            self.config, self.data, augmentation, self.memory_format, generator, count
        )
        return list(found)

    def fixed(self, split: Split, images: int | None = None) -> list[Batch]:
        """Images as they are, in batches of the run's size: the first ``images`` of an order that
        is the same for every run; a last smaller batch is left out."""
        size = self.config.training.batch_size
        generator = torch.Generator().manual_seed(stream_seed(0, "fixed"))
        order = torch.randperm(len(split), generator=generator)[:images].to(split.labels.device)
        chosen = split.take(order)
        normalise = Normalise(self.data.mean, self.data.std, chosen.images.device)
        pairs = zip(chosen.images.split(size), chosen.labels.split(size), strict=True)
        return [
            (normalise(x).contiguous(memory_format=self.memory_format), y)
            for x, y in pairs
            if len(y) == min(size, len(chosen))
        ]

    def loss(self, batches: list[Batch]) -> BatchLoss:
        """As the run trains: its precision, its label smoothing."""
        autocast = build_autocast(self.config.training.precision, self.device)
        return BatchLoss(self.model, batches, autocast, self.smoothing)

    def in_precision(self, precision: str, batches: list[Batch]) -> BatchLoss:
        """The network with weights and images of fp64 or fp32; bf16 is fp32's weights in torch's
        autocast, as ``training.precision=bf16``."""
        dtype = torch.float64 if precision == "fp64" else torch.float32
        model = copy.deepcopy(self.model).to(dtype)
        name = precision if precision == "bf16" else "fp32"
        cast = [(x.to(dtype), y.to(dtype) if y.is_floating_point() else y) for x, y in batches]
        autocast = build_autocast(name, self.device)
        return BatchLoss(model, cast, autocast, self.smoothing)


class Looks:
    """Makes them; keeps the run that was looked at last.

    Args:
        device: as the setting.
    """

    def __init__(self, device: str):
        self._device = device
        self._last: tuple[str, TrainedRun, ImageData] | None = None

    @contextmanager
    def looking(
        self, run: FinishedRun, wanted: Mapping[str, Any], epoch: int
    ) -> Iterator[LookedAt]:
        """The weights of the run after an epoch.

        Args:
            wanted: the run's config with today's places of data.

        Raises:
            CheckpointError, ConfigMismatch, DataError: the run's weights or images are not there,
                or not what they were.
        """
        trained, data = self._trained(run, wanted)
        hashed = config_hash(trained.recorded)
        path = str(run_path(trained.config))
        state: dict[str, Tensor] = read_snapshot(run.folder, path, hashed, epoch)["model"]
        model = copy.deepcopy(trained.model)
        model.load_state_dict(state)
        with unnoticed(model, trained.device):
            yield LookedAt(model, trained.config, data, trained.device)

    def _trained(self, run: FinishedRun, wanted: Mapping[str, Any]) -> tuple[TrainedRun, ImageData]:
        name = str(run.folder)
        if self._last is None or self._last[0] != name:
            root = wanted["dataset"]["root"]
            trained = TrainedRun(
                run.folder, Places(wanted["data_root"], lambda _: root, self._device)
            )
            data = trained.own_images()
            there = replace(
                data,
                train=data.train.to(trained.device),
                evaluation=data.evaluation.to(trained.device),
            )
            self._last = (name, trained, there)
        return self._last[1], self._last[2]
