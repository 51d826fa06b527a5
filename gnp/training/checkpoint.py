"""The state of a run after an epoch: written atomically, proven when it is read."""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import PicklingError
from typing import Any

import torch

from gnp.data.digest import digest_of
from gnp.errors import UserError
from gnp.files import put_aside, storing, write_atomically
from gnp.tracking.reading import CHECKPOINT

log = logging.getLogger(__name__)

FORMAT = 2
PREVIOUS = "checkpoint.previous.pt"


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be written or used; the message says what to do."""

    exit_status = 1


class Unusable(Exception):
    """Why a checkpoint cannot be gone on from."""


@dataclass(frozen=True)
class Identity:
    """What a checkpoint is of: the run's place below <root>/runs, its config's hash, the data's
    digest."""

    run: str
    config: str
    data: str


class Checkpoints:
    """The last checkpoint in a run's folder and the one before it, which stays until the next is
    written: a damaged one costs an epoch.

    Args:
        folder: the run's.
        identity: only checkpoints of it are gone on from.
        epochs: how many the run has.
    """

    def __init__(self, folder: Path, identity: Identity, epochs: int):
        self._last, self._previous = folder / CHECKPOINT, folder / PREVIOUS
        self._identity, self._epochs = identity, epochs
        self._proven = False  # has one that was written here been read back?

    def save(self, state: Mapping[str, Any], check: Callable[[], None] = lambda: None) -> None:
        """Write ``state`` (tensors, numbers, strings, containers of them; "epoch" is its epoch).

        Args:
            check: called before the file takes its name; what it raises leaves things as they were.

        Raises:
            CheckpointError: torch would refuse to load it: an optimizer keeps objects in its state.
        """
        content = {"format": FORMAT, **asdict(self._identity), **state}
        whole = {**content, "digest": digest_of(content)}
        fresh = self._last.with_name(f".{CHECKPOINT}-new.tmp")
        try:
            write_atomically(fresh, lambda file: torch.save(whole, file), make_folder=False)
            if not self._proven:
                self._read(fresh)
                self._proven = True
        except (Unusable, PicklingError, AttributeError, TypeError) as error:
            fresh.unlink(missing_ok=True)
            raise CheckpointError(
                f"this run could not be gone on from: its state cannot be saved and read again "
                f"({error}). Take an optimizer.base whose state is of tensors and numbers"
            ) from error
        check()
        with storing(self._last, "replace"):
            if self._last.exists():
                if self._previous.is_dir():
                    put_aside(self._previous)
                os.replace(self._last, self._previous)
            os.replace(fresh, self._last)

    def load(self) -> dict[str, Any] | None:
        """The state of the last checkpoint that is whole and of this run, on the CPU; None if there
        is no checkpoint. One that cannot be used is named and put aside.

        Loading it into a network and an optimizer moves what belongs on their device, and leaves
        Adam's step counters, which would cost a wait each step there, on the CPU.
        """
        refused = False
        for path in (self._last, self._previous):
            if not (path.exists() or path.is_symlink()):
                continue
            try:
                state = self._read(path)
            except Unusable as error:
                aside = put_aside(path)
                log.warning("%s cannot be used: %s; it is kept as %s", path, error, aside.name)
                refused = True
                continue
            if refused:
                log.warning("%s, of epoch %d, is used in its place", path, state["epoch"])
            return state
        if refused:
            log.warning("no other checkpoint is there: this run begins again")
        return None

    def finish(self) -> None:
        """The run is finished: the checkpoint before the last has done its work."""
        with suppress(OSError):  # it is in nobody's way
            self._previous.unlink()

    def _read(self, path: Path) -> dict[str, Any]:
        state = read_checkpoint(path)
        for name, ours in asdict(self._identity).items():
            if state.get(name) != ours:
                raise Unusable(f"it is of {name} {state.get(name)}, this run of {ours}")
        epoch, lines = state["epoch"], state["metrics"]
        if not 1 <= epoch <= self._epochs or [line["epoch"] for line in lines] != [
            *range(1, epoch + 1)
        ]:
            raise Unusable(f"it is of epoch {epoch} with {len(lines)} epochs of metrics")
        return state


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU, proven to be what was written.

    Raises:
        Unusable: it is damaged, or of another format.
        OSError, MemoryError: the machine refuses; the file may be whole.
    """
    if not path.is_file():  # of a pipe nothing would ever come
        raise Unusable("it is a folder" if path.is_dir() else "it is no file, or a link to nothing")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # zip, pickle, EOF and runtime errors: all mean "damaged"
        if "allocate memory" in str(error):  # torch has no class for it on the CPU
            raise MemoryError(f"there is not enough memory to read {path}") from error
        first_line = str(error).strip().split("\n", 1)[0]
        raise Unusable(f"{type(error).__name__}: {first_line}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise Unusable(f"it is no checkpoint of this version (format {FORMAT})")
    if state.pop("digest", None) != digest_of(state):
        raise Unusable("it is not what was written: its content does not fit its digest")
    return state
