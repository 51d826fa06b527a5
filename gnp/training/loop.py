"""One epoch of training and one evaluation, for every method, on any device.

Nothing here waits for the device within an epoch, except to look for a non-finite loss every
``CHECK_EVERY`` steps: sums stay there as tensors. (With fp16, torch's GradScaler waits each step
to learn of an overflow.)
"""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gnp.data import ImageData, Normalise
from gnp.optim import GNP, PenaltySchedule
from gnp.training.distributed import Processes

CHECK_EVERY = 50  # steps between two looks at whether the loss is still finite

Autocast = Callable[[], AbstractContextManager]
ALONE = Processes()


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class Average:
    """Mean cross-entropy (nats) and error (%) over images."""

    loss: float
    error: float


class Meter:
    """Sums of loss and mistakes on the device; read once at the end, over all processes."""

    def __init__(self, device: torch.device, processes: Processes = ALONE):
        self._processes = processes
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._wrong = torch.zeros((), dtype=torch.int64, device=device)
        self._images = 0

    @torch.no_grad()
    def add(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """``loss`` is the batch's mean; logits (B, classes), targets (B,) or (B, classes).

        Of a mixture of labels the heaviest counts.
        """
        labels = targets if targets.ndim == 1 else targets.argmax(1)
        self._loss += loss.double() * len(labels)
        self._wrong += (logits.argmax(1) != labels).sum()
        self._images += len(labels)

    def read(self) -> Average:
        sums = torch.stack(
            [self._loss, self._wrong.double(), torch.full_like(self._loss, self._images)]
        )
        loss, wrong, images = self._processes.sum(sums).tolist()
        return Average(loss=loss / images, error=100 * wrong / images)


class FiniteGuard:
    """Notices the first step with a NaN or infinite loss, without a wait at every step."""

    def __init__(self, device: torch.device, processes: Processes = ALONE):
        self._processes = processes
        self._never = torch.iinfo(torch.int64).max
        self._first = torch.full((), self._never, dtype=torch.int64, device=device)

    def see(self, loss: Tensor, step: int) -> None:
        here = torch.where(loss.detach().isfinite(), self._never, step)
        self._first = torch.minimum(self._first, here)

    def check(self) -> None:
        """Raises NonFiniteLoss, in all processes, if any loss seen so far was not finite."""
        first = self._processes.minimum(self._first).item()
        if first != self._never:
            raise NonFiniteLoss(f"the loss was NaN or infinite at step {first} of the epoch")


@dataclass(frozen=True)
class Schedules:
    """What changes from step to step: the learning rate, and the penalty's r and α."""

    learning_rate: torch.optim.lr_scheduler.LRScheduler
    penalty: PenaltySchedule

    def step(self) -> None:
        self.learning_rate.step()
        self.penalty.step()

    def state_dict(self) -> dict[str, Any]:
        return {
            "scheduler": self.learning_rate.state_dict(),
            "penalty": self.penalty.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learning_rate.load_state_dict(state["scheduler"])
        self.penalty.load_state_dict(state["penalty"])


class BatchPasses:
    """The forward and backward passes of one step over the pieces of its batch.

    Args:
        pieces: (images, targets) of each.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: GNP,
        pieces: list[tuple[Tensor, Tensor]],
        autocast: Autocast,
        label_smoothing: float,
    ):
        self._model, self._optimizer, self._pieces = model, optimizer, pieces
        self._autocast, self._label_smoothing = autocast, label_smoothing
        # (loss, logits, targets) of each pass over each piece
        self.seen: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in pieces]

    def closures(self, every: int = 1) -> list[Callable[[], Tensor]]:
        """For each piece, what leaves the gradient of its mean loss and returns that loss; of every
        so many-th of its images."""
        return [partial(self._gradient, piece, every) for piece in range(len(self._pieces))]

    def _gradient(self, piece: int, every: int) -> Tensor:
        inputs, wanted = (t[::every] for t in self._pieces[piece])
        scaler = self._optimizer.grad_scaler
        self._optimizer.zero_grad()
        with self._autocast():
            logits = self._model(inputs)
            loss = cross_entropy(logits.float(), wanted, label_smoothing=self._label_smoothing)
        (loss if scaler is None else scaler.scale(loss)).backward()
        self.seen[piece].append((loss.detach(), logits.detach(), wanted))
        return loss.detach()


def train_epoch(
    model: nn.Module,
    optimizer: GNP,
    schedules: Schedules,
    epoch_batches: Iterable[tuple[Tensor, Tensor]],
    device: torch.device,
    autocast: Autocast,
    *,
    label_smoothing: float = 0.0,
    sharpness_batch: int | None = None,
    reference_every: int = 1,
    metrics_of: str = "first",
    after_step: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda step: None,
    processes: Processes = ALONE,
) -> Average:
    """Train on each batch once. Returns loss and error as seen in training (augmented images,
    dropout on, weights changing).

    Args:
        epoch_batches: this process's share of each batch: images (B, 3, H, W) with int64 labels
            (B,) or mixtures (B, classes).
        sharpness_batch: size of the pieces of a batch that climb apart; None is the whole batch.
        reference_every: g1 is taken on every so many-th image of a piece; 1 is all.
        metrics_of: the pass whose loss and error are returned, "first" or (the official code's)
            "second", which was made at the climbed weights.
        after_step: called after each step, also one that a scaler has skipped.

    Raises:
        NonFiniteLoss: at most ``CHECK_EVERY`` steps after it happened. (Of second passes the
            returned loss shows it.)
    """
    model.train()
    optimizer.train()
    meter, guard = Meter(device, processes), FiniteGuard(device, processes)
    scaler = optimizer.grad_scaler
    optimizer.renew_direction()  # so that an epoch depends on nothing that is not in a checkpoint
    counted = {"first": 0, "second": -1}[metrics_of]  # the base optimizer has one pass: both
    for step, (images, targets) in enumerate(epoch_batches, start=1):
        size = sharpness_batch or len(images)
        pieces = list(zip(images.split(size), targets.split(size), strict=True))
        passes = BatchPasses(model, optimizer, pieces, autocast, label_smoothing)
        references = passes.closures(reference_every) if reference_every > 1 else None
        first_loss = optimizer.step(passes.closures(), references)
        if scaler is not None:
            scaler.update()
        after_step()
        schedules.step()
        for seen in passes.seen:
            meter.add(*seen[counted])
        guard.see(first_loss, step)
        if step % CHECK_EVERY == 0:
            guard.check()
        progress(step)
    guard.check()
    optimizer.eval()  # what is evaluated and saved is the schedule-free bases' average
    return meter.read()


@torch.no_grad()
def are_finite(model: nn.Module) -> bool:
    """Whether no weight and no running statistic of a network is NaN or infinite. (A mask of its
    own may well be.)"""
    statistics = [
        statistic
        for module in model.modules()
        for statistic in (getattr(module, name, None) for name in ("running_mean", "running_var"))
        if isinstance(statistic, Tensor)
    ]
    tensors = [t for t in (*model.parameters(), *statistics) if t.is_floating_point()]
    return torch.stack([t.isfinite().all() for t in tensors]).all().item()


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    data: ImageData,
    device: torch.device,
    autocast: Autocast,
    batch_size: int = 500,
    memory_format: torch.memory_format = torch.contiguous_format,
    processes: Processes = ALONE,
    each: Callable[[Tensor, Tensor], None] = lambda logits, labels: None,
) -> Average:
    """Loss and error over all images of ``data.evaluation``, without augmentation; each process
    looks at its share of them.

    Args:
        each: is given logits float32 (B, classes) and labels (B,), batch by batch.
    """
    model.eval()
    meter, split = Meter(device, processes), data.evaluation
    normalise = Normalise(data.mean, data.std, split.images.device)
    share = processes.share(len(split))
    chunks = zip(
        split.images[share].split(batch_size), split.labels[share].split(batch_size), strict=True
    )
    for images, labels in chunks:
        if len(images) == 0:  # more processes than images
            continue
        images = normalise(images).contiguous(memory_format=memory_format)
        with autocast():
            logits = model(images).float()
        meter.add(cross_entropy(logits, labels), logits, labels)
        each(logits, labels)
    return meter.read()


def cosine(total_steps: int, every: int = 1, warmup_steps: int = 0) -> Callable[[int], float]:
    """Factor on the learning rate at a step: ½(1 + cos(π·t/T)) ("Fidelity" in configs/README.md).

    Args:
        total_steps: T, where the factor is 0.
        every: the cosine changes every so many steps: 1, or an epoch's steps.
        warmup_steps: so many steps before the cosine grow linearly from 0, at the first step, to
            1, where the cosine begins; it is over T less these steps. Each step, whatever
            ``every``: an epoch at a rate of 0 would be lost.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return step / warmup_steps
        t = min(step - step % every, total_steps) - warmup_steps
        return 0.5 * (1 + math.cos(math.pi * t / (total_steps - warmup_steps)))

    return factor
