"""The state of a run after an epoch, written atomically, read with ``weights_only=True``."""

from pathlib import Path
from typing import Any

import torch

from gnp.errors import UserError
from gnp.tracking.files import write_atomically

FORMAT = 1


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be used; the message says what to do."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, containers of them)."""
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state in ``path``, on the CPU, or None if there is none.

    Loading it into a network and an optimizer moves what belongs on their device, and leaves
    Adam's step counters, which would cost a wait each step there, on the CPU.

    Raises:
        CheckpointError: damaged, or of another format.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, EOF and runtime errors: all mean "damaged"
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}: {error}); delete it to start this "
            f"run again from its beginning"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not a checkpoint of this version (format {FORMAT}); delete it to start "
            f"this run again from its beginning"
        )
    return state
