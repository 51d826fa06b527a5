"""From a config to a finished run: the only place that puts the parts together."""

import logging
import math
import time
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gnp.data import ImageData, batches
from gnp.optim import average_norm_statistics
from gnp.settings import Config, defaults, run_path, to_plain
from gnp.tracking import RunRecord, WandbMirror, describe_environment
from gnp.tracking.record import read_metrics
from gnp.training.build import (
    build_augmentation,
    build_autocast,
    build_model,
    build_optimizer,
    build_schedules,
    load_data,
    steps_per_epoch,
)
from gnp.training.checkpoint import load_checkpoint, save_checkpoint
from gnp.training.device import device_name, prepare_device
from gnp.training.distributed import Processes, check_shares, in_parallel, joined_processes
from gnp.training.failure import diverged
from gnp.training.loop import Average, NonFiniteLoss, evaluate, train_epoch
from gnp.training.progress import RunProgress
from gnp.training.seeds import stream_seed
from gnp.training.summary import summarise

log = logging.getLogger(__name__)


def run(config: Config, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Train, or go on training, or do nothing if the run is finished. Returns its summary.

    Under ``torchrun`` every process calls this; the first one keeps the record.

    Args:
        config: a validated config.
        overrides: the command line's settings, for the record.

    Raises:
        ConfigError, DataError, ConfigMismatch, RunBusy, CheckpointError, TrainingFailed: with
            what was wrong and what to do. Everything up to the last epoch stays on disk.
    """
    folder = folder_of(config)
    device = prepare_device(config.runtime)
    with joined_processes(device) as processes, ExitStack() as stack:
        check_shares(config, processes)
        record = wandb = None
        if processes.main:
            record = stack.enter_context(RunRecord(folder, to_plain(config), defaults()))
        summary = processes.from_main(record and record.summary())
        if summary is not None:
            if processes.main:
                log.info("%s is finished: nothing to do", folder)
            return summary
        if processes.main:
            record.add_environment(
                describe_environment(device_name(device), overrides, processes.count)
            )
            wandb = WandbMirror(
                config.wandb, folder, str(run_path(config)), to_plain(config), read_metrics(folder)
            )
        summary = None
        try:
            summary = _Run(config, record, wandb, device, processes).train()
        finally:
            if wandb is not None:
                wandb.finish(summary and summary["final"])
        return summary


def folder_of(config: Config) -> Path:
    """Where the run's record is."""
    return Path(config.root, "runs", run_path(config))


class _Run:
    """The objects of one run and the epochs over them.

    ``record`` and ``wandb`` are the main process's; the others have None.
    """

    def __init__(
        self,
        config: Config,
        record: RunRecord | None,
        wandb: WandbMirror | None,
        device: torch.device,
        processes: Processes,
    ):
        self.config, self.record, self.wandb, self.device = config, record, wandb, device
        self.processes, self.folder = processes, folder_of(config)
        self.data = processes.main_first(lambda: load_data(config, device))
        self.augmentation = build_augmentation(config)
        self.memory_format = (
            torch.channels_last if config.runtime.channels_last else torch.contiguous_format
        )
        torch.manual_seed(stream_seed(config.seed, "initialisation"))
        model = build_model(config).to(device, memory_format=self.memory_format)
        self.model, parallel = in_parallel(model, config, device, processes)
        self.optimizer = build_optimizer(config, parallel, device)
        self.steps_per_epoch = steps_per_epoch(config, len(self.data.train))
        self.schedules = build_schedules(config, self.optimizer, self.steps_per_epoch)
        self.autocast = build_autocast(config.training.precision, device)
        self.generator = torch.Generator(device)
        backend = config.runtime.compile
        # The compiled module shares the parameters and buffers of self.model.
        self.forward = torch.compile(parallel, backend=backend) if backend else parallel

    def train(self) -> dict[str, Any]:
        done = self._resume()
        epochs = self.config.training.epochs
        progress = RunProgress(str(self.folder), epochs, self.steps_per_epoch, done)
        with progress if self.processes.main else nullcontext():
            for epoch in range(done + 1, epochs + 1):
                metrics = self._epoch(epoch, progress)
                if self.processes.main:
                    self.record.add_metrics(metrics)
                    self.wandb.log(metrics, step=epoch)
                    self._save(epoch)
                    progress.epoch_done(metrics)
        # Training images as they are, dropout off: beside it, the error shows the gap.
        fit = self._evaluate(replace(self.data, evaluation=self.data.train))
        summary = None
        if self.processes.main:
            lines = read_metrics(self.record.folder)
            summary = summarise(self.config, self.data, self.model, lines, fit)
            self.record.finish(summary)
            progress.finished(summary)
        return self.processes.from_main(summary)

    def _epoch(self, epoch: int, progress: RunProgress) -> dict[str, Any]:
        """One epoch: a function of the weights, the optimizer's state and (seed, epoch) alone."""
        started = time.perf_counter()
        learning_rate = self.optimizer.param_groups[0]["lr"]
        try:
            train = self._train(epoch, progress)
            if self.processes.count > 1:
                average_norm_statistics(self.model)
            trained = time.perf_counter() - started
            evaluated = self._evaluate(self.data)
            if not math.isfinite(evaluated.loss):
                # The last update broke the weights: they must become neither record nor checkpoint.
                raise NonFiniteLoss("the loss after it is NaN or infinite")
        except NonFiniteLoss as error:
            raise diverged(self.config, self.folder, epoch, error) from error
        return {
            "epoch": epoch,
            "train_loss": train.loss,
            "train_error": train.error,
            f"{self.data.evaluated}_loss": evaluated.loss,
            f"{self.data.evaluated}_error": evaluated.error,
            "learning_rate": learning_rate,
            "train_seconds": round(trained, 3),
            "seconds": round(time.perf_counter() - started, 3),
        }

    def _train(self, epoch: int, progress: RunProgress) -> Average:
        config, rank = self.config, self.processes.rank
        self.generator.manual_seed(stream_seed(config.seed, "data", epoch))
        # The first process draws what it would alone; the others draw for other images.
        torch.manual_seed(stream_seed(config.seed, f"network/{rank}" if rank else "network", epoch))
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
            progress=progress.step_done if self.processes.main else lambda step: None,
            processes=self.processes,
        )

    def _evaluate(self, data: ImageData) -> Average:
        return evaluate(
            self.forward,
            data,
            self.device,
            self.autocast,
            self.config.runtime.eval_batch_size,
            self.memory_format,
            self.processes,
        )

    # ------------------------------------------------------------------ state on disk

    def _save(self, epoch: int) -> None:
        scaler = self.optimizer.grad_scaler
        state = {
            "epoch": epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **self.schedules.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }
        save_checkpoint(self.record.checkpoint_path, state)

    def _resume(self) -> int:
        """Load the last checkpoint. Returns the number of epochs done.

        A line of metrics that the checkpoint does not cover (a kill between the two) goes: its
        epoch is trained again, to the same numbers.
        """
        state = load_checkpoint(self.record.checkpoint_path) if self.processes.main else None
        state = self.processes.from_main(state)
        done = 0
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedules.load_state_dict(state)
            if self.optimizer.grad_scaler is not None:
                self.optimizer.grad_scaler.load_state_dict(state["scaler"])
            done = state["epoch"]
        if self.processes.main:
            if done:
                log.info("%s: going on after epoch %d", self.folder, done)
            self.record.keep_epochs(done)
        return done
