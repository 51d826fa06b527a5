"""A run whose loss became NaN or infinite: an outcome, of which the record says where and why.

diverged.json      epoch, reason, and the checksums of the other files; a new start of the run
                   removes it
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnp.settings import path_of
from gnp.tracking.checksums import file_checksum, fits_its_checksum, with_checksum
from gnp.tracking.damage import DamagedRecord
from gnp.tracking.reading import (
    CONFIG,
    ENVIRONMENT,
    METRICS,
    SCHEMA,
    config_there,
    identity_of,
    json_of,
    lies_at,
    prove_files,
    prove_starts,
    read_environments,
    read_metrics,
)

DIVERGED = "diverged.json"


@dataclass(frozen=True)
class DivergedRecord:
    """All that the record of a run that diverged says, proven. ``epoch``: in which it did;
    ``metrics`` are of those before it."""

    folder: Path
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    epoch: int
    reason: str

    def __str__(self) -> str:
        return f"diverged in epoch {self.epoch}: {self.reason}"


def outcome_of(folder: Path, epoch: int, reason: str) -> dict[str, Any]:
    """What diverged.json is to hold."""
    names = [name for name in (CONFIG, ENVIRONMENT, METRICS) if (folder / name).exists()]
    files = {name: file_checksum(folder / name) for name in names}
    return with_checksum({"schema": SCHEMA, "epoch": epoch, "reason": reason, "files": files})


def read_diverged(folder: Path) -> DivergedRecord | None:
    """The record of a run that diverged, or None. (Whether it is finished is not looked at.)

    Raises:
        DamagedRecord: a file is missing, cannot be read, is not what its checksum says, or
            contradicts another one or the place where it lies.
    """
    path = folder / DIVERGED
    outcome = json_of(path)
    if outcome is None:
        return None
    if not isinstance(outcome, dict) or not fits_its_checksum(outcome):
        raise DamagedRecord(path, "it does not fit its own checksum")
    prove_files(folder, outcome["files"], DIVERGED)
    config = config_there(folder)
    place = path_of(*identity_of(config).values())
    if not lies_at(folder, place):
        raise DamagedRecord(folder / CONFIG, f"it is of the run {place}, which does not lie here")
    prove_starts(folder, config, read_environments(folder))
    metrics = read_metrics(folder)
    return DivergedRecord(folder, config, metrics, outcome["epoch"], outcome["reason"])
