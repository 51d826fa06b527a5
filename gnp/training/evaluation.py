"""A run's network, loaded from its checkpoint to be evaluated as its run would."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gnp.data import ImageData, Split
from gnp.data.errors import DataError
from gnp.settings import Config, checked, run_path, unrecorded
from gnp.statistics.calibration import calibration_error
from gnp.tracking.compare import config_hash
from gnp.tracking.predictions import Predictions, encode, read_predictions
from gnp.tracking.reading import CHECKPOINT, CONFIG, read_config, read_finished
from gnp.tracking.record import RunRecord, refuse_other_data
from gnp.training.build import build_autocast, build_model, load_data
from gnp.training.checkpoint import CheckpointError, Unusable, read_checkpoint
from gnp.training.device import prepare_device
from gnp.training.distributed import Processes
from gnp.training.ema import evaluated_state
from gnp.training.loop import evaluate
from gnp.training.predictions import Predicted


class NotWritten(CheckpointError):
    """Predictions that are not put into a record, and why."""


@dataclass(frozen=True)
class Places:
    """What a record does not say: where data lie, and on what it is evaluated here.

    Attributes:
        data_root: as the setting.
        dataset_root: a function of the data set's name, for the source that has a folder.
        device, batch_size: None for the run's own batch size.
    """

    data_root: str
    dataset_root: Callable[[str], str]
    device: str = "auto"
    batch_size: int | None = None


class BothWays(nn.Module):
    """Averages the softmax of each image and of its mirror image; gives the logarithm of that,
    which is its own log-softmax."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        ways = torch.stack([self.model(i).float().log_softmax(1) for i in (images, images.flip(3))])
        return ways.logsumexp(0) - math.log(2)


class TrainedRun:
    """The network of a run's last checkpoint (with ``training.ema`` the average), with its
    normalisation, precision, memory format and batch size.

    Args:
        folder: the run's, finished or not.

    Raises:
        DataError: no run is there.
        DamagedRecord, ConfigError: its record cannot be believed or understood.
        CheckpointError: there is no checkpoint, or it is damaged, of another format, of another run
            or of other networks.
    """

    def __init__(self, folder: Path, places: Places):
        self.folder = folder
        self.finished = read_finished(folder)
        self.recorded = self.finished.config if self.finished else read_config(folder)
        if self.recorded is None:
            raise DataError(f"{folder} is no run's folder: it has no {CONFIG}")
        self.config = _config_of(self.recorded, places)
        self.device = prepare_device(self.config.runtime)
        state = self._checkpoint()
        self.epoch, self._data_digest = state["epoch"], state["data"]
        channels_last = self.config.runtime.channels_last
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        model = build_model(_without_download(self.config))
        try:
            model.load_state_dict(evaluated_state(state))
        except RuntimeError as error:
            raise CheckpointError(
                f"{folder / CHECKPOINT} is of another network than this code's "
                f"({' '.join(str(error).split())[:300]}); evaluate it with the code that made it"
            ) from error
        self.model = model.to(self.device, memory_format=self._format)

    def _checkpoint(self) -> dict[str, Any]:
        path = self.folder / CHECKPOINT
        if not path.exists():
            raise CheckpointError(
                f"{self.folder} has no {CHECKPOINT}, from which it could be evaluated (published "
                f"records are without); the run's own command makes it, where there is no summary"
            )
        try:
            state = read_checkpoint(path)
        except Unusable as error:
            raise CheckpointError(f"{path} cannot be used: {error}") from error
        ours = {"run": str(run_path(self.config)), "config": config_hash(self.recorded)}
        for name, value in ours.items():
            if state.get(name) != value:
                raise CheckpointError(
                    f"{path} cannot be used: it is of {name} {state.get(name)}, not {value}"
                )
        return state

    def check_cifar(self, classes: int) -> None:
        """Raise DataError if the network was not trained on the classes of CIFAR-10 (or 100)."""
        dataset = self.config.dataset
        if dataset.num_classes != classes or dataset.source == "synthetic":
            raise DataError(
                f"{self.folder} was trained on {dataset.name} ({dataset.num_classes} classes), "
                f"whose classes are not those of CIFAR-{classes}"
            )

    def own_images(self) -> ImageData:
        """What the run evaluates: the test images, or those held out for validation.

        Raises:
            ConfigMismatch: they are other ones than the run was trained with.
        """
        data = load_data(self.config, torch.device("cpu"))
        refuse_other_data(self.folder, self._data_digest, data.digest)
        return data

    def predictions(
        self, split: Split, flip: bool = False, progress: Callable[[int], None] = lambda n: None
    ) -> Predictions:
        """What the network says of each image.

        Args:
            flip: of the mean softmax of the image and its mirror image.
            progress: is given the number of images of each batch that is done.
        """
        split_there = split.to(self.device)
        config, predicted = self.config, Predicted(self.device)
        mean, std = tuple(config.dataset.mean), tuple(config.dataset.std)
        classes = config.dataset.num_classes

        def each(logits: Tensor, labels: Tensor) -> None:
            predicted.add(logits, labels)
            progress(len(labels))

        evaluate(
            BothWays(self.model) if flip else self.model,
            ImageData(split_there, split_there, "test", classes, mean, std),
            self.device,
            build_autocast(config.training.precision, self.device),
            config.runtime.eval_batch_size,
            self._format,
            each=each,
        )
        return predicted.all(split, Processes())

    def write(self, predictions: Predictions) -> bool:
        """Put them into the finished record, if it has none; whether they were. The summary then
        has their checksum and a new one of its own, and is replaced last: no number of it changes,
        and a record that a kill leaves between the two is as before.

        Raises:
            NotWritten: the run is not finished, its record is too old to have checksums, or the
                error of the predictions is not, to the last bit, the recorded one.
            RunBusy, StorageError: as ``RunRecord``.
        """
        if self.finished is None or "files" not in self.finished.summary:
            what = "not finished" if self.finished is None else "a record without checksums"
            raise NotWritten(f"{self.folder} is {what}: no predictions are written there")
        if read_predictions(self.folder) is not None:
            return False
        summary = self.finished.summary
        recorded = summary["final"][f"{summary['evaluated']}_error"]
        if predictions.error != recorded:
            raise NotWritten(
                f"{self.folder}: the error is {predictions.error} here and {recorded} in the "
                f"record, by the rounding of another machine or code: no predictions are written"
            )
        with RunRecord(self.folder, self.recorded, locks=self.config.runtime.locks) as record:
            record.add_predictions(summary, encode(predictions))
        return True


def summary_of(predictions: Predictions) -> dict[str, Any]:
    """Number of images, error (%), NLL (nats), ECE (percentage points, 15 bins), their digest."""
    return {
        "count": len(predictions.labels),
        "error": predictions.error,
        "nll": float(predictions.nll.mean(dtype=float)),
        "ece": calibration_error(predictions.confidence, predictions.correct),
        "digest": predictions.digest,
    }


def _config_of(recorded: dict[str, Any], places: Places) -> Config:
    """The recorded config, older ones with what has been added since, in today's places."""
    plain = _over(unrecorded(), recorded)
    plain |= {"root": "outputs", "data_root": places.data_root}
    dataset, runtime = dict(plain["dataset"]), dict(plain["runtime"])
    if dataset["source"] == "torchvision":
        dataset["root"] = places.data_root
    elif dataset["source"] != "synthetic":
        dataset["root"] = places.dataset_root(dataset["name"])
    # No compiler: a pass over some images is over before it is.
    runtime |= {"device": places.device, "compile": None}
    if places.batch_size is not None:
        runtime["eval_batch_size"] = places.batch_size
    return checked(Config, plain | {"dataset": dataset, "runtime": runtime})


def _without_download(config: Config) -> Config:
    """timm's published weights are not needed where all of them are loaded from a checkpoint."""
    if not config.model.get("pretrained"):
        return config
    return config.model_copy(update={"model": {**config.model, "pretrained": False}})


def _over(before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """``given``, and what it does not name from ``before``."""
    sections = {
        name: _over(before[name], value)
        for name, value in given.items()
        if name in SECTIONS and isinstance(value, dict)
    }
    return {**before, **given, **sections}


SECTIONS = ("dataset", "augmentation", "optimizer", "training", "runtime", "wandb")
