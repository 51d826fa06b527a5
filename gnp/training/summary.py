"""What is left of a run when it is finished: a few numbers, for tables."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from gnp.data import ImageData
from gnp.settings import Config
from gnp.training.loop import Average


def summarise(
    config: Config,
    data: ImageData,
    model: nn.Module,
    lines: Sequence[Mapping[str, Any]],
    fit: Average,
) -> dict[str, Any]:
    """Last-epoch numbers, and apart those of the best epoch of the evaluated ones: it was chosen on
    that very split.

    Args:
        lines: the metrics of all epochs.
        fit: loss and error on the training images as they are.
    """
    error, loss = f"{data.evaluated}_error", f"{data.evaluated}_loss"
    best = min((line for line in lines if error in line), key=lambda line: line[error])
    return {
        "experiment": config.experiment,
        "dataset": config.dataset.name,
        "augmentation": config.augmentation.name,
        "method": config.method,
        "seed": config.seed,
        "evaluated": data.evaluated,
        "epochs": config.training.epochs,
        "train_images": len(data.train),
        "evaluation_images": len(data.evaluation),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "final": {
            error: lines[-1][error],
            loss: lines[-1][loss],
            "fit_error": fit.error,
            "fit_loss": fit.loss,
        },
        "best": {"epoch": best["epoch"], error: best[error]},
        "seconds": round(sum(line["seconds"] for line in lines), 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
