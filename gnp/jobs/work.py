"""What a run does, from its config: images through the network, updates; FLOPs, time, bytes."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from gnp.settings import PROBED_BATCHES, batches_of, epochs_before_penalty, is_due, is_evaluated
from gnp.settings.gpus import UTILISATION, Gpu

# Bytes beside the checkpoint's tensors: a line of metrics an epoch, and it again in the checkpoint;
# the other files of a record, a log, and what torch.save adds.
PER_EPOCH, PER_RUN = 600, 50_000


@dataclass(frozen=True)
class Work:
    """``drawn``: images of training batches. ``trained`` and ``evaluated``: images through a
    forward and backward pass, and through a forward pass alone. ``updates``: of all parameters; a
    climb counts as one, and so does a moving average's."""

    drawn: int = 0
    trained: int = 0
    evaluated: int = 0
    updates: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, times: int) -> "Work":
        return Work(*(value * times for value in astuple(self)))

    def flops(self, cost: Mapping[str, Any]) -> float:
        """Args:
        cost: of the run, as ``gnp.training.cost`` says.
        """
        of_one = cost["flops"]
        return self.trained * of_one["training"] + self.evaluated * of_one["forward"]

    def seconds(self, cost: Mapping[str, Any]) -> float:
        """On this machine."""
        of_one, speed = cost["flops"], cost["speed"]
        return (
            self.drawn * speed["augmentation"]
            + self.trained * of_one["training"] / speed["training"]
            + self.evaluated * of_one["forward"] / speed["evaluation"]
            + self.updates * speed["update"]
        )

    def seconds_on(
        self, gpu: Gpu, cost: Mapping[str, Any], precision: str, utilisation: float | None = None
    ) -> float:
        """An estimate from a GPU's peak, for which its data sheet is all that is known.

        Args:
            utilisation: the part of the peak that is reached; None: ``UTILISATION``.
        """
        share = cost["flops"]["convolutions"]
        seconds = 0.0
        for convolutions, part in ((True, share), (False, 1 - share)):
            kind, peak = gpu.peak(precision, convolutions)
            rate = 1e12 * peak * (utilisation or UTILISATION[kind])
            seconds += self.flops(cost) * part / rate
        return seconds


def work_of(config: Mapping[str, Any], train: int, evaluation: int, done: int = 0) -> Work:
    """Of a run, or of what is left of it.

    Args:
        config: its resolved config, as plain containers.
        train, evaluation: images that are trained on, and that are evaluated.
        done: epochs that are behind it.
    """
    training = config["training"]
    epochs = training["epochs"]
    steps = batches_of(train, training["batch_size"], training["drop_last"])
    without = _steps_without_penalty(config["optimizer"], epochs, steps)
    total = Work()
    warm_up = min(epochs, max(done, math.ceil(without / steps) if steps else 0))
    for epoch in range(done, warm_up):
        off = min(steps, max(0, without - epoch * steps))
        total += _epoch(config, train, off)
    total += _epoch(config, train, 0) * (epochs - warm_up)
    total += _probe(training, train) * _due(training, "probe_every", done + 1)
    # At its end the training images are evaluated, too.
    return total + Work(evaluated=_evaluations(training, done) * evaluation + train)


def checkpoint_bytes(config: Mapping[str, Any], cost: Mapping[str, Any]) -> int:
    """On disk after the run, with the rest of its record."""
    training, of_one = config["training"], cost["flops"]
    copies = _due(training, "snapshot_every", 0) + (training["ema"] is not None)
    weights = copies * of_one["network"] if copies else 0
    return int(of_one["checkpoint"] + weights) + PER_EPOCH * training["epochs"] + PER_RUN


def _steps_without_penalty(optimizer: Mapping[str, Any], epochs: int, steps: int) -> int:
    """So many of the run's first steps come before its penalty, or in a warm-up that has none
    yet."""
    if before := epochs_before_penalty(optimizer["penalty_start"], epochs):
        return before * steps
    warm_up = optimizer["penalty_warmup_epochs"] * steps
    if optimizer["penalty_warmup"] == "none" or not warm_up:
        return 0
    return warm_up if optimizer["penalty_warmup"] == "zero" else 1  # r or λ grows from 0


def _epoch(config: Mapping[str, Any], train: int, off: int) -> Work:
    """The training of one epoch, whose first ``off`` steps have no penalty."""
    training, optimizer = config["training"], config["optimizer"]
    size = training["batch_size"]
    steps = batches_of(train, size, training["drop_last"])
    every, direction_every = (
        round(1 / optimizer["reference_fraction"]),
        optimizer["direction_every"],
    )
    has_penalty = optimizer["r"] > 0 and optimizer["alpha"] > 0
    one_pass = optimizer["climb_along"] == "momentum"
    drawn = trained = climbs = more = 0
    for step in range(steps):
        images = min(size, train - step * size)
        drawn += images
        trained += images
        if not has_penalty or step < off:
            continue
        climbs += 1
        # Measured in a first step with a penalty, and in every so many-th of the epoch.
        if not one_pass and (step == off or step % direction_every == 0):
            piece = training["sharpness_batch"] or images
            more += images // piece * math.ceil(piece / every)
    share = optimizer["probability"]  # of the steps: which ones, only training draws
    averages = 0 if training["ema"] is None else steps
    return Work(
        drawn=drawn,
        trained=trained + round(share * more),
        updates=steps + averages + round(share * climbs),
    )


def _probe(training: Mapping[str, Any], train: int) -> Work:
    """Two passes over each of a few batches, and a climb between them."""
    size = training["batch_size"]
    batches = min(PROBED_BATCHES, batches_of(train, size, training["drop_last"]))
    images = min(batches * size, train)
    return Work(drawn=images, trained=2 * images, updates=batches)


def _due(training: Mapping[str, Any], name: str, first: int) -> int:
    """Epochs from ``first`` on after which that is done which is done every so many."""
    epochs, every = training["epochs"], training.get(name, 0)  # older configs do not name it
    return sum(is_due(epoch, epochs, every) for epoch in range(first, epochs + 1))


def _evaluations(training: Mapping[str, Any], done: int) -> int:
    """Epochs after ``done`` that end with one: each so many-th, and the last in any case."""
    epochs, every = training["epochs"], training.get("evaluate_every", 1)
    return sum(is_evaluated(epoch, epochs, every) for epoch in range(done + 1, epochs + 1))
