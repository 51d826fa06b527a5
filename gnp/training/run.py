"""From a config to a finished run: the only place that puts the parts together."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gnp.data import DataError, ImageData, batches
from gnp.interruptions import held_back
from gnp.optim import average_norm_statistics
from gnp.settings import Config, is_due, is_evaluated, run_path, to_plain, unrecorded
from gnp.tracking import DamagedRecord, RunRecord, WandbMirror, describe_environment
from gnp.tracking.reading import FinishedRecord
from gnp.tracking.record import find_finished, refuse_other_data
from gnp.training.build import (
    build_augmentation,
    build_autocast,
    build_model,
    build_optimizer,
    build_schedules,
    load_data,
    steps_per_epoch,
)
from gnp.training.checkpoint import CheckpointError, Checkpoints, Identity
from gnp.training.device import device_name, prepare_device
from gnp.training.distributed import Processes, check_shares, in_parallel, joined_processes
from gnp.training.ema import evaluated_network
from gnp.training.failure import diverged
from gnp.training.loop import Average, NonFiniteLoss, are_finite, evaluate, train_epoch
from gnp.training.one_image import check_passes_of_one_image
from gnp.training.predictions import Predicted, from_state, to_state
from gnp.training.probe import build_probe
from gnp.training.progress import RunProgress
from gnp.training.seeds import seed_network, stream_seed
from gnp.training.snapshots import write_snapshot
from gnp.training.summary import summarise

log = logging.getLogger(__name__)


def run(config: Config, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Train, or go on training, or do nothing if the run is finished. Returns its summary.

    Under ``torchrun`` every process calls this; the first one keeps the record.

    Args:
        config: a validated config.
        overrides: the command line's settings, for the record.

    Raises:
        ConfigError, DataError, ConfigMismatch, DamagedRecord, RunBusy, CheckpointError, RecordGone,
            StorageError, TrainingFailed: with what was wrong and what to do. Everything up to the
            last epoch stays on disk. What is refused before the first epoch leaves no config in the
            run's folder that would refuse the next command.
    """
    folder = folder_of(config)
    device = prepare_device(config.runtime)
    with joined_processes(device) as processes, ExitStack() as stack:
        check_shares(config, processes)
        finished = record = None
        if processes.main:
            finished = _whole_record(config, folder)
            if finished is None:
                locks = config.runtime.locks
                record = RunRecord(folder, to_plain(config), unrecorded(), locks)
                stack.enter_context(record)
        summary = processes.from_main(finished and finished.summary)
        if summary is not None:
            if processes.main:
                _compare_data(config, finished)
                log.info("%s is finished: nothing to do", folder)
            return summary
        training = _Run(config, record, device, processes)
        wandb = None
        if processes.main:
            environment = describe_environment(device_name(device), overrides, processes.count)
            record.begin(environment, training.data.digest)
        lines = training.resume()
        if processes.main:
            wandb = WandbMirror(
                config.wandb, Path(config.root), str(run_path(config)), to_plain(config), lines
            )
        summary = None
        try:
            summary = training.train(lines, wandb)
        finally:
            if wandb is not None:
                wandb.finish(summary)
        return summary


def folder_of(config: Config) -> Path:
    """Where the run's record is."""
    return Path(config.root, "runs", run_path(config))


def _whole_record(config: Config, folder: Path) -> FinishedRecord | None:
    """The run's finished record; one that is damaged is named, and the run goes on from its last
    checkpoint."""
    try:
        return find_finished(folder, to_plain(config), unrecorded())
    except DamagedRecord as error:
        log.warning("%s; what of it is missing is made again", error)
        return None


def _compare_data(config: Config, finished: FinishedRecord) -> None:
    """Raise ConfigMismatch if a finished run was trained on other images than those of today."""
    if finished.data is None:
        return
    here = config.model_copy(update={"dataset": config.dataset.as_it_is_here()})
    try:
        data = load_data(here, torch.device("cpu"))
    except DataError as error:
        log.warning("whether the data are those of the record was not compared: %s", error)
        return
    refuse_other_data(finished.folder, finished.data, data.digest)


class _Run:
    """The objects of one run and the epochs over them.

    ``record`` is the main process's; the others have None.
    """

    def __init__(
        self,
        config: Config,
        record: RunRecord | None,
        device: torch.device,
        processes: Processes,
    ):
        self.config, self.record, self.device = config, record, device
        self.processes, self.folder = processes, folder_of(config)
        self.data = processes.main_first(lambda: load_data(config, device))
        self.augmentation = build_augmentation(config)
        self.memory_format = (
            torch.channels_last if config.runtime.channels_last else torch.contiguous_format
        )
        seed_network(stream_seed(config.seed, "initialisation"))
        model = build_model(config).to(device, memory_format=self.memory_format)
        check_passes_of_one_image(config, model, self.data)
        self.model, parallel = in_parallel(model, config, device, processes)
        self.optimizer = build_optimizer(config, parallel, device)
        self.steps_per_epoch = steps_per_epoch(config, len(self.data.train))
        self.schedules = build_schedules(config, self.optimizer, self.steps_per_epoch)
        self.autocast = build_autocast(config.training.precision, device)
        self.generator = torch.Generator(device)
        backend = config.runtime.compile
        self.predictions: bytes | None = None  # of the last epoch's network
        # The compiled module shares the parameters and buffers of self.model.
        self.forward = torch.compile(parallel, backend=backend) if backend else parallel
        self.evaluated = evaluated_network(config, self.model, self.forward, self.optimizer)
        scaler = self.optimizer.grad_scaler
        self.probe = build_probe(
            config, self.model, self.data, self.augmentation, self.autocast,
            self.memory_format, scaler,
        )  # fmt: skip

    def train(self, lines: list[dict[str, Any]], wandb: WandbMirror | None) -> dict[str, Any]:
        """The epochs after those whose metrics are ``lines``, which get theirs. Returns the
        summary. ``wandb`` is the main process's."""
        epochs = self.config.training.epochs
        progress = RunProgress(str(self.folder), epochs, self.steps_per_epoch, len(lines))
        with (
            held_back() as let_signals_through,
            progress if self.processes.main else nullcontext(),
        ):

            def step_done(step: int) -> None:
                let_signals_through()
                if self.processes.main:
                    progress.step_done(step)

            if self.processes.main and not lines:
                self._keep_weights(0)
            for epoch in range(len(lines) + 1, epochs + 1):
                metrics = self._epoch(epoch, step_done)
                lines.append(metrics)
                if self.processes.main:
                    self.record.add_metrics(metrics)
                    wandb.log(metrics, step=epoch)
                    self._keep_weights(epoch)
                    self._save(lines)
                    progress.epoch_done(metrics)
        # Training images as they are, dropout off: beside it, the error shows the gap.
        fit = self._evaluate(replace(self.data, evaluation=self.data.train))
        predictions = self._predictions(lines[-1])
        summary = None
        if self.processes.main:
            summary = summarise(self.config, self.data, self.model, lines, fit)
            summary = self.record.finish(summary, predictions)
            self.checkpoints.finish()
            progress.finished(summary)
        return self.processes.from_main(summary)

    def _epoch(self, epoch: int, step_done: Callable[[int], None]) -> dict[str, Any]:
        """One epoch: a function of the weights, the optimizer's state and (seed, epoch) alone."""
        started = time.perf_counter()
        learning_rate = self.optimizer.param_groups[0]["lr"]
        try:
            train = self._train(epoch, step_done)
            if not math.isfinite(train.loss):  # of a first pass it would have been noticed
                raise NonFiniteLoss("the loss of the second pass was NaN or infinite in the epoch")
            if self.processes.count > 1:
                average_norm_statistics(self.model)
                self.evaluated.average_statistics()
            trained = time.perf_counter() - started
            evaluated = self._evaluation(epoch)
        except NonFiniteLoss as error:
            if self.processes.main:
                self.record.diverge(epoch, str(error))
            raise diverged(self.config, self.folder, epoch, error) from error
        return {
            "epoch": epoch,
            "train_loss": train.loss,
            "train_error": train.error,
            **evaluated,
            **self.probe.measure(epoch),
            "learning_rate": learning_rate,
            "train_seconds": round(trained, 3),
            "seconds": round(time.perf_counter() - started, 3),
        }

    def _train(self, epoch: int, step_done: Callable[[int], None]) -> Average:
        config, rank = self.config, self.processes.rank
        self.generator.manual_seed(stream_seed(config.seed, "data", epoch))
        # The first process draws what it would alone; the others draw for other images.
        seed_network(stream_seed(config.seed, f"network/{rank}" if rank else "network", epoch))
        epoch_batches = batches(
            self.data,
            config.training.batch_size,
            self.augmentation,
            self.generator,
            self.memory_format,
            config.training.drop_last,
            self.processes.share,
        )
        return train_epoch(
            self.forward,
            self.optimizer,
            self.schedules,
            epoch_batches,
            self.device,
            self.autocast,
            label_smoothing=config.training.label_smoothing,
            sharpness_batch=config.training.sharpness_batch,
            reference_every=config.optimizer.reference_every,
            metrics_of=config.training.train_metrics,
            after_step=self.evaluated.after_step,
            progress=step_done,
            processes=self.processes,
        )

    def _evaluation(self, epoch: int) -> dict[str, float]:
        """Loss and error after an epoch, under their names; nothing after one without evaluation.

        Raises:
            NonFiniteLoss: the last update broke the weights, which must become neither record nor
                checkpoint.
        """
        training = self.config.training
        if not is_evaluated(epoch, training.epochs, training.evaluate_every):
            if not are_finite(self.model):
                raise NonFiniteLoss("the weights after it are NaN or infinite")
            return {}
        predicted = Predicted(self.device) if epoch == training.epochs else None
        evaluated = self._evaluate(self.data, predicted)
        if not math.isfinite(evaluated.loss):
            raise NonFiniteLoss("the loss after it is NaN or infinite")
        if predicted is not None:
            self.predictions = predicted.read(self.data.evaluation, self.processes)
        name = self.data.evaluated
        return {f"{name}_loss": evaluated.loss, f"{name}_error": evaluated.error}

    def _predictions(self, last: dict[str, Any]) -> bytes | None:
        """Those of the last epoch's evaluation. Its checkpoint has them; for an older one they are
        made again, and left out if the rounding of this machine makes another error of them.

        Args:
            last: the last epoch's metrics.
        """
        if self.predictions is not None:
            return self.predictions
        predicted = Predicted(self.device)
        again = self._evaluate(self.data, predicted)
        if again.error != last[f"{self.data.evaluated}_error"]:
            log.warning("%s: the last epoch's predictions cannot be made again", self.folder)
            return None
        return predicted.read(self.data.evaluation, self.processes)

    def _evaluate(self, data: ImageData, predicted: Predicted | None = None) -> Average:
        return evaluate(
            self.evaluated.network,
            data,
            self.device,
            self.autocast,
            self.config.runtime.eval_batch_size,
            self.memory_format,
            self.processes,
            *([predicted.add] if predicted is not None else []),
        )

    # ------------------------------------------------------------------ state on disk

    def _keep_weights(self, epoch: int) -> None:
        """Before the checkpoint of the epoch: a run that goes on after it has them."""
        training = self.config.training
        if is_due(epoch, training.epochs, training.snapshot_every):
            self.record.check_place()
            write_snapshot(self.folder, self.identity, epoch, self.model.state_dict())

    def _save(self, lines: list[dict[str, Any]]) -> None:
        scaler = self.optimizer.grad_scaler
        self.record.check_place()
        self.checkpoints.save(
            {
                "epoch": len(lines),
                "metrics": lines,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                **self.evaluated.state_dict(),
                **self.schedules.state_dict(),
                "scaler": scaler.state_dict() if scaler is not None else {},
                **to_state(self.predictions),
            },
            check=self.record.check_place,  # it may have been paused for long, in the writing
        )

    def resume(self) -> list[dict[str, Any]]:
        """Load the last checkpoint. Returns the metrics of the epochs that are done.

        The checkpoint has them too. A line of metrics.jsonl that it does not cover (a kill between
        the two) goes: its epoch is trained again, to the same numbers.

        Raises:
            CheckpointError: the networks or optimizers of this code have other states.
        """
        state = None
        if self.processes.main:
            self.identity = Identity(
                str(run_path(self.config)), self.record.config_hash, self.data.digest
            )
            self.checkpoints = Checkpoints(self.folder, self.identity, self.config.training.epochs)
            state = self.checkpoints.load()
        state = self.processes.from_main(state)
        if state is not None:
            try:
                self.model.load_state_dict(state["model"])
                self.optimizer.load_state_dict(state["optimizer"])
                self.evaluated.load_state_dict(state)
                self.schedules.load_state_dict(state)
                if self.optimizer.grad_scaler is not None:
                    self.optimizer.grad_scaler.load_state_dict(state["scaler"])
            except (RuntimeError, ValueError, KeyError) as error:
                raise CheckpointError(
                    f"{self.folder}: the checkpoint does not fit the network or the optimizer of "
                    f"this code ({' '.join(str(error).split())[:300]}); go on with the code that "
                    f"made it (environment.json names it), or delete the folder"
                ) from error
            self.predictions = from_state(state)
        lines = state["metrics"] if state is not None else []
        if self.processes.main:
            if lines:
                log.info("%s: going on after epoch %d", self.folder, len(lines))
            self.record.set_metrics(lines)
        return lines
