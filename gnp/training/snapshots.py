"""The weights of some epochs, kept for those who look at them later: ``training.snapshot_every``.

    checkpoint.epoch<k>.pt     weights and buffers after epoch k; k = 0: the initial ones

They are no part of what a run goes on from; a run that goes on has those of the epochs before.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gnp.data.digest import digest_of
from gnp.files import write_atomically
from gnp.training.checkpoint import (
    FORMAT,
    CheckpointError,
    Identity,
    Unusable,
    read_checkpoint,
)


def snapshot_path(folder: Path, epoch: int) -> Path:
    return folder / f"checkpoint.epoch{epoch}.pt"


def write_snapshot(
    folder: Path, identity: Identity, epoch: int, model: Mapping[str, Tensor]
) -> None:
    """Args:
    model: the network's state dict.
    """
    content = {"format": FORMAT, **asdict(identity), "epoch": epoch, "model": dict(model)}
    whole = {**content, "digest": digest_of(content)}
    write_atomically(
        snapshot_path(folder, epoch), lambda file: torch.save(whole, file), make_folder=False
    )


def read_snapshot(folder: Path, run: str, config: str, epoch: int) -> dict[str, Any]:
    """The content of a snapshot, on the CPU, proven to be what was written.

    Args:
        run, config: as in ``Identity``.

    Raises:
        CheckpointError: it is not there, damaged, or of another run.
    """
    path = snapshot_path(folder, epoch)
    again = f"delete {folder} and give the command again: it is trained anew"
    if not path.exists():
        raise CheckpointError(
            f"{folder} has no {path.name} (published records are without weights; a run keeps them "
            f"with training.snapshot_every); {again}"
        )
    try:
        state = read_checkpoint(path)
    except Unusable as error:
        raise CheckpointError(f"{path} cannot be used: {error}; {again}") from error
    found = {name: state.get(name) for name in ("run", "config", "epoch")}
    if found != {"run": run, "config": config, "epoch": epoch}:
        raise CheckpointError(f"{path} cannot be used: it is of {found}; {again}")
    return state
