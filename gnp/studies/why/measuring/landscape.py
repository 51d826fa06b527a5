"""The loss along lines through the space of the weights."""

from collections.abc import Sequence
from typing import Any

import torch

from gnp.settings.why import gaps_beyond
from gnp.studies.why.measuring.directions import filter_normalised
from gnp.studies.why.measuring.looked_at import LookedAt
from gnp.studies.why.measuring.loss import BatchLoss
from gnp.studies.why.numbers import evenly
from gnp.training.loop import Average
from gnp.training.seeds import stream_seed
from gnp.training.vectors import Vector, difference, moved


def measure_directions(look: LookedAt, settings: dict[str, Any]) -> dict[str, Any]:
    """{"at": […], "losses": [[…], …]}: a list of training losses for each direction."""
    loss = look.loss(look.fixed(look.data.train))
    at = evenly(-settings["reach"], settings["reach"], settings["steps"])
    losses = []
    for number in range(settings["directions"]):
        generator = torch.Generator().manual_seed(stream_seed(0, "direction", number))
        direction = filter_normalised(loss.params, generator)
        losses.append([average.loss for average in along(loss, direction, at)])
    return {"at": at, "losses": losses}


def measure_line(start: LookedAt, end: Vector, settings: dict[str, Any]) -> dict[str, Any]:
    """Loss and error of training and evaluated images from the weights of ``start``, at 0, to
    ``end``, at 1, and beyond."""
    steps = settings["line_steps"]
    before = round(gaps_beyond(steps, settings["beyond"]))
    inside = steps - 1 - 2 * before
    at = [round((k - before) / inside, 12) for k in range(steps)]  # 0 and 1 are among them
    out: dict[str, Any] = {"at": at}
    splits = {
        "train": start.fixed(start.data.train),
        start.data.evaluated: start.fixed(start.data.evaluation, settings["test_images"]),
    }
    for name, batches in splits.items():
        loss = start.loss(batches)
        averages = along(loss, difference(end, loss.params), at)
        out[f"{name}_loss"] = [average.loss for average in averages]
        out[f"{name}_error"] = [average.error for average in averages]
    return out


def along(loss: BatchLoss, direction: Vector, at: Sequence[float]) -> list[Average]:
    """At θ + t · direction for each t."""
    found = []
    for t in at:
        with moved(loss.params, direction, t):
            found.append(loss.average())
    return found
