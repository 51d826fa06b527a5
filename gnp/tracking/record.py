"""The record of one run: a folder that is the truth about it.

    config.yaml        the resolved config, without the places of files, written at the first start
    environment.json   machine, versions, code, the data's digest; an entry a start
    metrics.jsonl      a line an epoch
    checkpoint.pt      the last epoch's state (the training's business), and the one before it
    predictions.npz    what the last epoch's network says of each evaluated image
    summary.json       written last, atomically: it exists only for a finished run, and has the
                       checksums of the other files
    diverged.json      in its place where the loss became NaN or infinite

This is the side that writes; ``gnp.tracking.reading`` reads and proves, and so may anything else.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gnp.errors import UserError
from gnp.files import (
    append,
    put_aside,
    remove_leftovers,
    storing,
    write_bytes,
    write_json,
)
from gnp.tracking.checksums import checksum_of, file_checksum, with_checksum
from gnp.tracking.compare import PLACES, config_difference, config_hash, without
from gnp.tracking.diverged import DIVERGED, outcome_of
from gnp.tracking.lock import LOCK_NAME, holder, inherited_lock, lock_patiently
from gnp.tracking.reading import (
    CHECKPOINT,
    CONFIG,
    ENVIRONMENT,
    METRICS,
    PREDICTIONS,
    SCHEMA,
    SUMMARY,
    DamagedRecord,
    FinishedRecord,
    read_config,
    read_environments,
    read_finished,
    read_metrics,
)

log = logging.getLogger(__name__)


class ConfigMismatch(UserError, ValueError):
    """The folder holds a run with another config, or on other data."""


class RunBusy(UserError, RuntimeError):
    """Another process is working on this run."""


class RecordGone(UserError, RuntimeError):
    """The folder was removed or replaced while the run was at work."""

    exit_status = 1


class RunRecord:
    """Locks the record in ``folder``, to make it or to go on with it. Writes nothing before
    ``begin``: a start that is refused leaves no trace that refuses the next one.

    Args:
        folder: the run's folder; made if it does not exist.
        config: the resolved config, plain containers only.
        unrecorded: what a record that does not name a setting was made with.
        locks: as ``lock_run``'s ``kind``.

    Raises:
        ConfigMismatch: a run with another config is recorded there; shows the difference.
        DamagedRecord: its config cannot be read, and nothing else says that it is this one.
        RunBusy: another process holds its lock.
    """

    def __init__(
        self,
        folder: str | Path,
        config: Mapping[str, Any],
        unrecorded: Mapping[str, Any] = {},
        locks: str = "auto",
    ):
        self.folder = Path(folder)
        self._text = dump_yaml(without(config, PLACES))
        self.config_hash = config_hash(yaml.safe_load(self._text))
        with storing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = inherited_lock(self.folder)
        if self._lock is None:
            self._lock = lock_patiently(self.folder, locks)
        if self._lock is None:
            who = holder(self.folder)
            raise RunBusy(f"{who} is working on {self.folder}; wait for it or stop it")
        try:
            remove_leftovers(self.folder)
            self._starts = self._earlier_starts()
            self._config_is_there = self._compare(config, unrecorded)
        except BaseException:
            self.close()
            raise

    def _compare(self, config: Mapping[str, Any], unrecorded: Mapping[str, Any]) -> bool:
        """Whether the folder has this very config; False if it has to be written."""
        begun_with = {s["config"] for s in self._starts if "config" in s}
        try:
            recorded = read_config(self.folder)
        except DamagedRecord as error:
            damage = error
        else:
            if recorded is None:
                others = (ENVIRONMENT, METRICS, CHECKPOINT, PREDICTIONS, SUMMARY)
                if not any((self.folder / name).exists() for name in others):
                    return False
                damage = DamagedRecord(self.folder / CONFIG, "it is missing")
            elif begun_with and config_hash(recorded) not in begun_with:
                damage = DamagedRecord(self.folder / CONFIG, "the run was begun with another")
            else:
                refuse_another_config(self.folder, recorded, config, unrecorded)
                # An older record does not name the settings that have been added since.
                self.config_hash = config_hash(recorded)
                return True
        if self.config_hash not in begun_with:
            raise DamagedRecord(
                damage.path,
                f"{damage.reason}. Nothing else there says what this run was: delete {self.folder} "
                f"to train it again, or give this run another place (root=… or method=…)",
            )
        log.warning("%s; it is written again, as the record's other files know it", damage)
        return False

    # ------------------------------------------------------------------ writing

    def begin(self, environment: Mapping[str, Any], data: str) -> None:
        """Record one start: config.yaml if it is not there, and an entry in environment.json.

        Args:
            environment: facts about this start.
            data: the digest of the images and labels.

        Raises:
            ConfigMismatch: the run was begun on other data.
        """
        for start in self._starts:
            refuse_other_data(self.folder, start.get("data"), data)
        before = {start.get("code", {}).get("hash") for start in self._starts[-1:]}
        if before - {environment["code"]["hash"]}:
            log.warning("%s: the code has changed since this run's last start", self.folder)
        if os.path.lexists(self.folder / SUMMARY):  # of a record that was not whole
            put_aside(self.folder / SUMMARY)
        with storing(self.folder / DIVERGED):
            (self.folder / DIVERGED).unlink(missing_ok=True)  # it is tried again
        if not self._config_is_there:
            self._write(CONFIG, self._text.encode())
        proof = {"schema": SCHEMA, "config": self.config_hash, "data": data}
        entry = with_checksum({**environment, **proof})
        self.check_place()
        write_json(self.folder / ENVIRONMENT, [*self._starts, entry], make_folder=False)

    def set_metrics(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Let metrics.jsonl hold these lines, which a checkpoint knows, and no other.

        A kill between an epoch's line and its checkpoint leaves one line more; anything else was
        not this program's doing, and is named.
        """
        try:
            there = read_metrics(self.folder)
        except DamagedRecord as error:
            log.warning("%s; it is written again from the checkpoint", error)
        else:
            if there[: len(lines)] != list(lines):
                log.warning(
                    "%s has not what the checkpoint knows of %d epochs; it is written again",
                    self.folder / METRICS,
                    len(lines),
                )
            elif len(there) > len(lines) + 1:
                log.warning(
                    "%s: the checkpoint is of epoch %d of %d; those after it are trained again",
                    self.folder,
                    len(lines),
                    len(there),
                )
        content = "".join(_json_line(line) for line in lines).encode()
        path = self.folder / METRICS
        if not path.is_file() or path.read_bytes() != content:
            self._write(METRICS, content)

    def add_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Append one epoch's line and bring it to the disk. ``metrics`` has a key "epoch"."""
        self.check_place()
        append(self.folder / METRICS, _json_line(metrics))

    def finish(
        self, summary: Mapping[str, Any], predictions: bytes | None = None
    ) -> dict[str, Any]:
        """Write the predictions, if there are some, and the summary, with the checksums of the
        other files and its own. Returns it."""
        names = [CONFIG, ENVIRONMENT, METRICS, CHECKPOINT]
        if predictions is not None:
            self._write(PREDICTIONS, predictions)
            names.append(PREDICTIONS)
        self.check_place()
        files = {name: file_checksum(self.folder / name) for name in names}
        whole = with_checksum({**summary, "schema": SCHEMA, "files": files})
        self.check_place()  # a large checkpoint is read for long
        write_json(self.folder / SUMMARY, whole, make_folder=False)
        return whole

    def diverge(self, epoch: int, reason: str) -> None:
        """Record that the loss became NaN or infinite in this epoch: an outcome, which nobody makes
        again but who starts the run itself."""
        self.check_place()
        outcome = outcome_of(self.folder, epoch, reason)
        write_json(self.folder / DIVERGED, outcome, make_folder=False)

    def add_predictions(self, summary: Mapping[str, Any], predictions: bytes) -> None:
        """Put predictions into a finished record that has none. The summary, whose numbers stay,
        gets their checksum and takes its own place last: until then they are no part of the record.

        Args:
            summary: the record's own.
        """
        self._write(PREDICTIONS, predictions)
        files = {**summary["files"], PREDICTIONS: checksum_of(predictions)}
        self.check_place()
        write_json(
            self.folder / SUMMARY, with_checksum({**summary, "files": files}), make_folder=False
        )

    def _write(self, name: str, content: bytes) -> None:
        self.check_place()
        if (self.folder / name).is_dir():
            put_aside(self.folder / name)
        write_bytes(self.folder / name, content, make_folder=False)

    def _earlier_starts(self) -> list[dict[str, Any]]:
        try:
            return read_environments(self.folder)
        except DamagedRecord as error:
            log.warning("%s; it is put aside", error)
            put_aside(self.folder / ENVIRONMENT)
            return []

    def check_place(self) -> None:
        """Raise RecordGone if the folder is not the one that was locked, or no longer locked by us:
        what is written then would be half a record, or spoil another's."""
        try:
            there = os.stat(self.folder / LOCK_NAME)
        except OSError as error:
            raise RecordGone(
                f"{self.folder} was removed while its run was at work ({error.strerror}); what it "
                f"held is lost, and the same command trains it again"
            ) from error
        if self._lock is None:
            return
        if not os.path.samestat(there, os.fstat(self._lock.descriptor)):
            raise RecordGone(f"{self.folder} was replaced while its run was at work")
        with storing(self.folder, "read"):
            held = self._lock.held()
        if not held:
            raise RecordGone(
                f"{self.folder}: another process has taken this run over, as this one gave no sign "
                f"of life (was it paused, or cut off from its storage?); it goes on there from the "
                f"last checkpoint"
            )

    def close(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> "RunRecord":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def find_finished(
    folder: Path, config: Mapping[str, Any], unrecorded: Mapping[str, Any] = {}
) -> FinishedRecord | None:
    """The run's finished record, if it is whole and was made with this config. Needs no lock and
    writes nothing, so that it works on storage that is read-only.

    Raises:
        ConfigMismatch: it was made with another config.
        DamagedRecord: as ``read_finished``.
    """
    record = read_finished(folder)
    if record is not None:
        refuse_another_config(folder, record.config, config, unrecorded)
    return record


def refuse_another_config(
    folder: Path,
    recorded: Mapping[str, Any],
    wanted: Mapping[str, Any],
    unrecorded: Mapping[str, Any] = {},
) -> None:
    """Raise ConfigMismatch if they are two experiments."""
    if difference := config_difference(recorded, wanted, unrecorded):
        raise ConfigMismatch(
            f"{folder} holds a run with another config:\n"
            + "\n".join(f"  {line}" for line in difference)
            + "\nGive this one another place (root=… or method=…), or delete that folder."
        )


def refuse_other_data(folder: Path, recorded: str | None, wanted: str) -> None:
    """Raise ConfigMismatch if the digests differ; a record of schema 1 has none."""
    if recorded not in (None, wanted):
        raise ConfigMismatch(
            f"{folder} holds a run on other data: the images and labels that are loaded now "
            f"(digest {wanted}) are not those that it was begun with ({recorded}). Set the data "
            f"set's place back (dataset.root=…, data_root=…), give this run another place (root=… "
            f"or method=…), or delete that folder."
        )


def dump_yaml(config: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)


def _json_line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
