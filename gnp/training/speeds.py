"""The measurements of ``gnp.training.calibration``, kept in a file of the user's cache folder."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from gnp.files import StorageError, user_cache, write_json
from gnp.settings import Config
from gnp.tracking.environment import processor
from gnp.training.calibration import measure, measure_augmentation
from gnp.training.device import device_name

log = logging.getLogger(__name__)

Measurement = dict[str, Any]


def kept_in() -> Path:
    return user_cache() / "speeds.json"


class Speeds:
    """What was measured on this machine. A change of the processor, its threads, the device, torch,
    or of what is measured makes a measurement another one.

    Args:
        beside: how many processes compute beside this one, while it measures.
    """

    def __init__(self, device: torch.device, beside: int):
        self._device, self._beside = device, beside
        self._kept = _read(kept_in())

    def knows(self, config: Config) -> bool:
        names = (_name(self._of_network(config)), _name(self._of_augmentation(config)))
        return all(name in self._kept for name in names)

    def of(self, config: Config, flops: dict[str, float], seconds: float) -> Measurement:
        """What ``measure`` and ``measure_augmentation`` return, and ``when`` the former was made.

        Args:
            flops, seconds: as ``measure`` takes them.
        """
        network = self._kept_or(
            self._of_network(config), lambda: measure(config, flops, self._device, seconds)
        )
        augmentation = self._kept_or(
            self._of_augmentation(config), lambda: measure_augmentation(config, self._device)
        )
        return {**augmentation, **network}

    def _kept_or(self, of: Mapping[str, Any], measured: Callable[[], Measurement]) -> Measurement:
        name = _name(of)
        if name not in self._kept:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime())
            new = {**measured(), "when": when, "of": of}
            self._kept = {**_read(kept_in()), **self._kept, name: new}  # others may have added some
            try:
                write_json(kept_in(), self._kept)
            except StorageError as error:
                log.warning("the measurement is not kept: %s", error)
        return {key: value for key, value in self._kept[name].items() if key != "of"}

    def _of_network(self, config: Config) -> dict[str, Any]:
        """The number of classes is no part of it."""
        return {
            **self._machine(),
            "model": {key: value for key, value in config.model.items() if key != "num_classes"},
            "base": config.optimizer.base["_target_"],
            "images": config.training.sharpness_batch or config.training.batch_size,
            "evaluated": config.runtime.eval_batch_size,
            "precision": config.training.precision,
            "channels_last": config.runtime.channels_last,
        }

    def _of_augmentation(self, config: Config) -> dict[str, Any]:
        augmentation = config.augmentation.model_dump(exclude={"name"})
        return {**self._machine(), **augmentation, "images": config.training.batch_size}

    def _machine(self) -> dict[str, Any]:
        on_cpu = self._device.type == "cpu"
        return {
            "processor": processor(),
            "cores": os.cpu_count(),
            "device": device_name(self._device),
            "threads": torch.get_num_threads() if on_cpu else None,
            "beside": self._beside,
            "torch": torch.__version__,
        }


def _name(of: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, Measurement]:
    """What is kept; nothing where there is no such file, or it is not what was written."""
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict):
        return {}
    # Each has its name for its content: what was changed or is of another form is not found.
    return {
        name: entry
        for name, entry in kept.items()
        if isinstance(entry, dict)
        and isinstance(entry.get("of"), dict)
        and _name(entry["of"]) == name
    }
