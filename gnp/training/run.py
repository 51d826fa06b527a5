"""From a config to a finished run: the only place that puts the parts together."""

import hashlib
import inspect
import logging
import math
import os
import time
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from gnp.data import Augmentation, ImageData, batches, load_dataset
from gnp.errors import UserError
from gnp.optim import GNP, PenaltySchedule, average_norm_statistics, penalty_warmup
from gnp.tracking import RunRecord, WandbMirror, describe_environment
from gnp.tracking.record import read_metrics
from gnp.training.checkpoint import load_checkpoint, save_checkpoint
from gnp.training.config import Config, ConfigError, defaults, run_path, to_plain
from gnp.training.distributed import Processes, joined_processes, launched, local_rank
from gnp.training.loop import (
    Autocast,
    Average,
    NonFiniteLoss,
    Schedules,
    cosine,
    evaluate,
    train_epoch,
)
from gnp.training.progress import RunProgress

log = logging.getLogger(__name__)

# Running statistics are averaged before each evaluation; DDP would send the first process's to all
# in each forward pass. The argument's name changed in torch 2.14.
_ddp_arguments = inspect.signature(DistributedDataParallel).parameters
BUFFERS_STAY = {
    "forward_sync_buffers"
    if "forward_sync_buffers" in _ddp_arguments
    else "broadcast_buffers": False
}


class TrainingFailed(UserError, RuntimeError):
    """The run cannot go on; the message says where it stopped and what to try."""

    exit_status = 1


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
    path = run_path(config)
    folder = Path(config.root, "runs", path)
    device = prepare_device(config)
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
                describe_environment(_device_name(device), overrides, processes.count)
            )
            wandb = WandbMirror(
                mode=config.wandb.mode,
                folder=folder,
                run_id=str(path),
                project=config.wandb.project,
                group=str(path.parent),
                tags=config.wandb.tags,
                config=to_plain(config),
            )
        summary = None
        try:
            summary = _Run(config, record, wandb, device, processes).train()
        finally:
            if wandb is not None:
                wandb.finish(summary and summary["final"])
        return summary


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
        self.processes = processes
        self.folder = Path(config.root, "runs", run_path(config))
        if processes.main:  # it downloads and decodes what is missing, once
            self.data = load_data(config, device)
        processes.from_main(None)
        if not processes.main:
            self.data = load_data(config, device)
        self.augmentation = build_augmentation(config)
        self.memory_format = (
            torch.channels_last if config.runtime.channels_last else torch.contiguous_format
        )
        torch.manual_seed(stream_seed(config.seed, "initialisation"))
        self.model = build_model(config).to(device, memory_format=self.memory_format)
        parallel = self.model
        if processes.count > 1:
            self.model = normalise_together(self.model, config, device)
            parallel = DistributedDataParallel(self.model, **BUFFERS_STAY)
        self.optimizer = build_optimizer(config, parallel, device)
        images, batch_size = len(self.data.train), config.training.batch_size
        steps = images // batch_size if config.training.drop_last else -(-images // batch_size)
        if steps == 0:
            raise ConfigError(
                f"training.batch_size={config.training.batch_size} is larger than the training "
                f"set of {len(self.data.train)} images"
            )
        self.steps_per_epoch = steps
        self.schedules = Schedules(
            learning_rate=torch.optim.lr_scheduler.LambdaLR(
                self.optimizer,
                cosine(
                    config.training.epochs * steps,
                    steps if config.training.schedule_every == "epoch" else 1,
                ),
            ),
            penalty=PenaltySchedule(
                self.optimizer,
                **penalty_warmup(
                    config.optimizer.penalty_warmup,
                    config.optimizer.penalty_warmup_epochs * steps,
                ),
            ),
        )
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
            summary = self._summarise(fit)
            self.record.finish(summary)
            progress.finished(summary)
        return self.processes.from_main(summary)

    def _epoch(self, epoch: int, progress: RunProgress) -> dict[str, Any]:
        """One epoch: a function of the weights, the optimizer's state and (seed, epoch) alone."""
        config, started = self.config, time.perf_counter()
        learning_rate = self.optimizer.param_groups[0]["lr"]
        self.generator.manual_seed(stream_seed(config.seed, "data", epoch))
        # The first process draws what it would alone; the others draw for other images.
        rank = self.processes.rank
        torch.manual_seed(stream_seed(config.seed, f"network/{rank}" if rank else "network", epoch))
        try:
            train = train_epoch(
                self.forward,
                self.optimizer,
                self.schedules,
                batches(
                    self.data,
                    config.training.batch_size,
                    self.augmentation,
                    self.generator,
                    self.memory_format,
                    config.training.drop_last,
                    self.processes.share,
                ),
                self.device,
                self.autocast,
                label_smoothing=config.training.label_smoothing,
                sharpness_batch=config.training.sharpness_batch,
                reference_every=config.optimizer.reference_every,
                metrics_of=config.training.train_metrics,
                progress=progress.step_done if self.processes.main else lambda step: None,
                processes=self.processes,
            )
        except NonFiniteLoss as error:
            raise TrainingFailed(self._advice(epoch, error)) from error
        if self.processes.count > 1:
            average_norm_statistics(self.model)
        trained = time.perf_counter() - started
        evaluated = self._evaluate(self.data)
        if not math.isfinite(evaluated.loss):
            # The last update broke the weights: they must become neither record nor checkpoint.
            error = NonFiniteLoss("the loss after it is NaN or infinite")
            raise TrainingFailed(self._advice(epoch, error))
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

    def _state(self) -> dict[str, Any]:
        scaler = self.optimizer.grad_scaler
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **self.schedules.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }

    def _save(self, epoch: int) -> None:
        save_checkpoint(self.record.checkpoint_path, {"epoch": epoch, **self._state()})

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

    def _summarise(self, fit: Average) -> dict[str, Any]:
        """Last-epoch numbers, and the best epoch's apart: it was chosen on the evaluated split."""
        config, lines = self.config, read_metrics(self.record.folder)
        name = f"{self.data.evaluated}_error"
        best = min(lines, key=lambda line: line[name])
        return {
            "experiment": config.experiment,
            "dataset": config.dataset.name,
            "augmentation": config.augmentation.name,
            "method": config.method,
            "seed": config.seed,
            "evaluated": self.data.evaluated,
            "epochs": config.training.epochs,
            "train_images": len(self.data.train),
            "evaluation_images": len(self.data.evaluation),
            "parameters": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            "final": {
                name: lines[-1][name],
                f"{self.data.evaluated}_loss": lines[-1][f"{self.data.evaluated}_loss"],
                "fit_error": fit.error,
                "fit_loss": fit.loss,
            },
            "best": {"epoch": best["epoch"], name: best[name]},
            "seconds": round(sum(line["seconds"] for line in lines), 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def _advice(self, epoch: int, error: Exception) -> str:
        config = self.config
        advice = [f"a lower optimizer.lr (now {config.optimizer.lr:g})"]
        if config.optimizer.r:
            advice.append(f"a lower optimizer.r (now {config.optimizer.r:g})")
        if config.training.max_grad_norm is None:
            advice.append("training.max_grad_norm=5")
        if config.training.precision == "fp16":
            advice.append("training.precision=bf16")
        return (
            f"{self.folder}, epoch {epoch}: {error}. Try {', or '.join(advice)}. Epochs "
            f"before it are kept; a changed setting needs a new method=… name or that folder "
            f"deleted."
        )


# ---------------------------------------------------------------------- the parts of a run


def stream_seed(seed: int, stream: str, epoch: int = 0) -> int:
    """Seed of one stream of random numbers in one epoch.

    Deriving it from (seed, stream, epoch) keeps generators out of the checkpoint, and gives all
    methods of one seed the same initial weights, batches and augmentation.
    """
    digest = hashlib.sha256(f"{seed}/{stream}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # torch takes int64


def prepare_device(config: Config) -> torch.device:
    """The device of ``runtime.device``, with the process-wide settings that go with it.

    Raises:
        ConfigError: an unknown device, or CUDA where there is none.
    """
    runtime = config.runtime
    name = runtime.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if launched() and name == "cuda":
        name = f"cuda:{local_rank()}"
        if local_rank() >= torch.cuda.device_count() > 0:
            raise ConfigError(
                f"torchrun started more processes here than there are GPUs "
                f"({torch.cuda.device_count()}); lower --nproc_per_node"
            )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"runtime.device={name!r}: expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"runtime.device={name}, but torch sees no CUDA device; use auto or cpu")
    if launched() and device.type == "cuda":
        torch.cuda.set_device(device)
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    # Set in both directions: a sweep runs several configs in one process.
    torch.use_deterministic_algorithms(runtime.deterministic)
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS's condition for it
    torch.backends.cudnn.benchmark = device.type == "cuda" and not runtime.deterministic
    return device


def check_shares(config: Config, processes: Processes) -> None:
    """Each process must have whole pieces of each batch, all of one size.

    Raises:
        ConfigError: it has not.
    """
    training, count = config.training, processes.count
    if count == 1:
        return
    own, rest = divmod(training.batch_size, count)
    if rest:
        raise ConfigError(
            f"training.batch_size={training.batch_size} cannot be shared by {count} processes"
        )
    if not training.drop_last:
        raise ConfigError(f"training.drop_last=false needs one process, not {count}")
    if training.sharpness_batch is not None and own % training.sharpness_batch:
        raise ConfigError(
            f"each of {count} processes has {own} images of a batch, which are no whole pieces of "
            f"training.sharpness_batch={training.sharpness_batch}"
        )
    every = config.optimizer.reference_every
    if (training.sharpness_batch or own) % every:
        raise ConfigError(
            f"optimizer.reference_fraction=1/{every} does not divide a process's {own} images"
        )


def normalise_together(model: nn.Module, config: Config, device: torch.device) -> nn.Module:
    """The network for several processes whose images climb together: its batch norms take the
    whole batch's statistics. Where each climbs by itself, each has its own, as the official code.

    Raises:
        ConfigError: on the CPU, for which torch has no such batch norm.
    """
    together = config.training.sharpness_batch is None
    if not together or not any(isinstance(m, _BatchNorm) for m in model.modules()):
        return model
    if device.type == "cpu":
        raise ConfigError(
            "a network with batch norm in several CPU processes needs training.sharpness_batch=…, "
            "at most a process's share of the batch: each process then climbs and normalises by "
            "itself, as in the official code. (torch has batch norm over processes for GPUs only.)"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def load_data(config: Config, device: torch.device) -> ImageData:
    settings = asdict(config.dataset)
    settings.pop("name")
    return load_dataset(**settings, device=device)


def build_augmentation(config: Config) -> Augmentation:
    settings = asdict(config.augmentation)
    settings.pop("name")
    try:
        return Augmentation(**settings)
    except ValueError as error:
        raise ConfigError(f"augmentation: {error}") from error


def build_model(config: Config) -> nn.Module:
    try:
        return instantiate(config.model)
    except Exception as error:  # Hydra wraps whatever the network's constructor raises
        raise ConfigError(f"model: {error.__cause__ or error}") from error


def build_optimizer(config: Config, model: nn.Module, device: torch.device) -> GNP:
    """Every method is a GNP: SAM has α = 1, the base optimizer α = 0."""
    settings = config.optimizer
    key = "l2" if settings.weight_decay_in == "loss" else "weight_decay"
    groups: list[dict[str, Any]] = [
        {"params": list(model.parameters()), key: settings.weight_decay}
    ]
    if not settings.decay_norms_and_biases:
        # The usual rule: what has one dimension is a bias or a normalisation's scale.
        vectors = [p for p in model.parameters() if p.ndim <= 1]
        matrices = [p for p in model.parameters() if p.ndim > 1]
        groups = [{**groups[0], "params": matrices}, {"params": vectors, key: 0.0}]
    try:
        base = instantiate(settings.base, groups, lr=settings.lr, weight_decay=0.0, _convert_="all")
    except Exception as error:  # Hydra wraps whatever the optimizer's constructor raises
        raise ConfigError(f"optimizer.base: {error.__cause__ or error}") from error
    scaler = torch.amp.GradScaler(device.type) if config.training.precision == "fp16" else None
    return GNP(
        base,
        r=settings.r,
        alpha=settings.alpha,
        model=model,
        max_grad_norm=config.training.max_grad_norm,
        grad_scaler=scaler,
        normalize_reference=settings.normalize_reference,
        epsilon=settings.epsilon,
        batch_statistics=settings.batch_statistics,
        replay_draws=settings.replay_draws,
        true_gradient=settings.true_gradient,
        adaptive=settings.adaptive,
        adaptive_eta=settings.adaptive_eta,
        direction_every=settings.direction_every,
        sync_climb=config.training.sharpness_batch is None,
    )


def build_autocast(precision: str, device: torch.device) -> Autocast:
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if dtype is None:
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=dtype)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
