"""A run whose loss became NaN or infinite: an outcome, of which the record says where and why.

diverged.json      epoch, reason, and the checksums of the other files; a new start of the run
                   removes it
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnp.settings import path_of
from gnp.tracking.checksums import file_checksum, fits_its_checksum, with_checksum
from gnp.tracking.compare import config_hash
from gnp.tracking.damage import DamagedRecord, checksum_at
from gnp.tracking.reading import (
    CONFIG,
    ENVIRONMENT,
    IDENTITY,
    METRICS,
    SCHEMA,
    json_of,
    read_config,
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
    for name, checksum in outcome["files"].items():
        if not (folder / name).exists():
            raise DamagedRecord(folder / name, "it is missing")
        if checksum_at(folder / name) != checksum:
            raise DamagedRecord(folder / name, f"it is not the one that {DIVERGED} was written for")
    config = read_config(folder)
    if config is None:
        raise DamagedRecord(folder / CONFIG, "it is missing")
    place = _place(config)
    if folder.absolute().parts[-len(place.parts) :] != place.parts:
        raise DamagedRecord(folder / CONFIG, f"it is of the run {place}, which does not lie here")
    ours = config_hash(config)
    if any(start.get("config", ours) != ours for start in read_environments(folder)):
        raise DamagedRecord(folder / CONFIG, f"{ENVIRONMENT} is of a run with another config")
    metrics = read_metrics(folder)
    return DivergedRecord(folder, config, metrics, outcome["epoch"], outcome["reason"])


def _place(config: Mapping[str, Any]) -> Path:
    values = [config.get(key) for key in IDENTITY]
    return path_of(*(v.get("name") if isinstance(v, Mapping) else v for v in values))
