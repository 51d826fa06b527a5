"""A run's record, read and proven: nothing in it is believed that contradicts the rest of it.

Each function reads one file of a run's folder, or says that there is none; ``read_finished`` reads
them all and compares them. Records of schema 1, made before there were checksums, are held to the
same rules where they have what the rules are about.
"""

import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from sys import intern
from typing import Any

import yaml

from gnp.settings import is_evaluated, path_of
from gnp.tracking.checksums import fits_its_checksum
from gnp.tracking.compare import config_hash
from gnp.tracking.damage import DamagedRecord, checksum_at, text_of

# 2: checksums, the config's hash and the data's digest, the metrics in the checkpoint too.
SCHEMA = 2

CONFIG, ENVIRONMENT, METRICS = "config.yaml", "environment.json", "metrics.jsonl"
SUMMARY, CHECKPOINT, PREDICTIONS = "summary.json", "checkpoint.pt", "predictions.npz"
# What a summary says of which run it is: what ``path_of`` takes, in its order.
IDENTITY = ("experiment", "dataset", "augmentation", "method", "seed")

# Two changes of a file within a tick of its clock (ns; some file systems count seconds) cannot be
# told apart, so what has just been written is read again the next time.
TICK = 2_500_000_000
State = tuple[tuple[int, int, int, int], ...]

# libyaml is ten times as fast as PyYAML's own parser.
YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


SEED_LINE = re.compile(r"^seed: (0|-?[1-9][0-9]{0,18})$", re.MULTILINE)


@dataclass(frozen=True)
class FinishedRecord:
    """All that a finished run's record says, proven.

    ``metrics`` has a dict an epoch, ``environments`` one a start. In ``worked_out`` who reads it
    may keep what takes long to make of it.
    """

    folder: Path
    config: dict[str, Any]
    environments: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    summary: dict[str, Any]
    worked_out: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def data(self) -> str | None:
        """The digest of the images and labels; None in a record of schema 1."""
        return self.environments[-1].get("data") if self.environments else None

    @property
    def code(self) -> str:
        """The commits that it was trained with, or the hashes of the sources; a star marks sources
        changed since the commit. "" where no start is recorded."""
        return " ".join(dict.fromkeys(code_name(e.get("code", {})) for e in self.environments))


def code_name(code: Mapping[str, Any]) -> str:
    """The commit, or the hash of the sources; a star marks sources changed since the commit."""
    name = (code.get("commit") or code.get("hash") or "unknown")[:8]
    return name + ("*" if code.get("modified") else "")


# By the folder: what its files were when they were read, and what they say.
read_before: dict[Path, tuple[State, FinishedRecord]] = {}


def read_finished(folder: Path) -> FinishedRecord | None:
    """The record of a finished run, or None if it is not finished. One that was read before, and
    whose files have not been touched since, is not read again.

    Raises:
        DamagedRecord: a file is missing, cannot be read, is not what its checksum says, or
            contradicts another one or the place where it lies.
    """
    now, state = time.time_ns(), _state_of(folder)
    if state is not None and (known := read_before.get(folder)) is not None and known[0] == state:
        return known[1]
    record = _read_and_proven(folder)
    if record is not None and state is not None and now - max(t for *_, t in state) > TICK:
        read_before[folder] = state, record
    else:
        read_before.pop(folder, None)
    return record


def _state_of(folder: Path) -> State | None:
    """Inode, size and times (ns) of a record's files; None where one is missing. The last one, of
    any change, cannot be set back. Predictions may be missing: of an older record they are."""
    state, prefix = [], f"{folder}{os.sep}"  # pathlib would take as long again
    for name in (SUMMARY, CONFIG, ENVIRONMENT, METRICS, PREDICTIONS):
        try:
            file = os.stat(prefix + name)
        except OSError:
            if name != PREDICTIONS:
                return None
        else:
            state.append((file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns))
    return tuple(state)


def _read_and_proven(folder: Path) -> FinishedRecord | None:
    summary = read_summary(folder)
    if summary is None:
        return None
    prove_files(folder, summary.get("files", {}), SUMMARY)
    config = config_there(folder)
    metrics, environments = read_metrics(folder, whole=True), read_environments(folder)
    for name, reason in _contradictions(folder, summary, config, metrics):
        raise DamagedRecord(folder / name, reason)
    prove_starts(folder, config, environments)
    return FinishedRecord(folder, config, environments, metrics, summary)


def prove_files(folder: Path, files: Mapping[str, str], outcome: str) -> None:
    """Raise DamagedRecord if one of a record's files is missing or is not what its checksum says.

    Args:
        files: their checksums, by their names.
        outcome: the file that has these.
    """
    for name, checksum in files.items():
        if not (folder / name).exists():
            if name == CHECKPOINT:  # may go when its run is finished: no number is read from it
                continue
            raise DamagedRecord(folder / name, "it is missing")
        if name != CHECKPOINT and checksum_at(folder / name) != checksum:
            raise DamagedRecord(folder / name, f"it is not the one that {outcome} was written for")


def prove_starts(
    folder: Path, config: Mapping[str, Any], environments: list[dict[str, Any]]
) -> None:
    """Raise DamagedRecord if a start of the run had another config."""
    ours = config_hash(config)
    for start in environments:
        if start.get("config", ours) != ours:
            raise DamagedRecord(folder / CONFIG, f"{ENVIRONMENT} is of a run with another config")


def lies_at(folder: Path, place: Path) -> bool:
    """Whether a run's folder is that of this run below "runs"."""
    return folder.absolute().parts[-len(place.parts) :] == place.parts


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Which run a config is of: what ``path_of`` takes, in its order."""
    values = {key: config.get(key) for key in IDENTITY}
    return {k: v.get("name") if isinstance(v, Mapping) else v for k, v in values.items()}


def config_there(folder: Path) -> dict[str, Any]:
    """``read_config`` of a record that has to have one."""
    config = read_config(folder)
    if config is None:
        raise DamagedRecord(folder / CONFIG, "it is missing")
    return config


def read_config(folder: Path) -> dict[str, Any] | None:
    text = text_of(folder / CONFIG)
    if text is None:
        return None
    try:
        config = _parsed(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        reason = " ".join(str(error).split())
        raise DamagedRecord(folder / CONFIG, f"no YAML ({reason})") from error
    if not isinstance(config, dict) or not config:
        raise DamagedRecord(folder / CONFIG, "it holds no settings")
    return config


def _parsed(text: str) -> Any:
    """The YAML in a text. Configs of one cell differ in the line of the seed, and parsing takes
    longer than all the rest of reading a record: so each text but for that line is parsed once.
    """
    if len(found := SEED_LINE.findall(text)) == 1:
        config = _parsed_once(SEED_LINE.sub("seed: 0", text))
        if isinstance(config, dict) and config.get("seed") == 0:  # else the line was within a text
            return {**config, "seed": int(found[0])}
    return yaml.load(text, YamlLoader)


@lru_cache(maxsize=1024)
def _parsed_once(text: str) -> Any:
    return yaml.load(text, YamlLoader)


def read_summary(folder: Path) -> dict[str, Any] | None:
    """The summary, whose own numbers are possible; ``read_finished`` compares it with the rest."""
    summary = json_of(folder / SUMMARY)
    if summary is None:
        return None
    if not isinstance(summary, dict):
        raise DamagedRecord(folder / SUMMARY, "it is no JSON object")
    if {"schema", "files", "sha256"} & summary.keys() and not fits_its_checksum(summary):
        raise DamagedRecord(folder / SUMMARY, "it does not fit its own checksum")
    for reason in _wrong_in_summary(summary):
        raise DamagedRecord(folder / SUMMARY, reason)
    return summary


def read_environments(folder: Path) -> list[dict[str, Any]]:
    """An entry for each start of the run."""
    starts = json_of(folder / ENVIRONMENT)
    if starts is None:
        return []
    if not isinstance(starts, list) or not all(isinstance(s, dict) for s in starts):
        raise DamagedRecord(folder / ENVIRONMENT, "it is no list of starts")
    for number, start in enumerate(starts, start=1):
        if {"schema", "config", "sha256"} & start.keys() and not fits_its_checksum(start):
            raise DamagedRecord(
                folder / ENVIRONMENT, f"start {number} does not fit its own checksum"
            )
        if not isinstance(start.get("code", {}), dict):
            raise DamagedRecord(folder / ENVIRONMENT, f"start {number} names no code")
    return starts


def read_metrics(folder: Path, whole: bool = False) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, of epochs 1, 2, … A last line that a kill cut short is left out.

    Args:
        whole: there may be no such line.
    """
    path = folder / METRICS
    text = text_of(path)
    if text is None:
        if whole:
            raise DamagedRecord(path, "it is missing")
        return []
    *lines, rest = text.split("\n")
    if rest and whole:
        raise DamagedRecord(path, "its last line is cut short")
    read = []
    for epoch, line in enumerate(lines, start=1):
        try:
            entry = _decode(line)
        except ValueError as error:
            raise DamagedRecord(path, f"line {epoch} is no JSON ({error})") from error
        for reason in _wrong_in_line(entry, epoch):
            raise DamagedRecord(path, f"line {epoch} {reason}")
        read.append({intern(key): value for key, value in entry.items()})  # else a copy a line
    return read


# ---------------------------------------------------------------------- what cannot be


def _contradictions(
    folder: Path,
    summary: Mapping[str, Any],
    config: Mapping[str, Any],
    metrics: list[dict[str, Any]],
) -> Iterator[tuple[str, str]]:
    """(file, what is wrong with it) for what the files of one record cannot say together."""
    for key, recorded in identity_of(config).items():
        if recorded != summary[key]:
            yield SUMMARY, f"it is of {key} {summary[key]}, {CONFIG} of {recorded}"
    place = path_of(*(summary[key] for key in IDENTITY))
    if not lies_at(folder, place):
        yield SUMMARY, f"it is of the run {place}, which does not lie here"
    training = config.get("training")
    epochs = training.get("epochs") if isinstance(training, Mapping) else None
    if summary["epochs"] != epochs:
        yield SUMMARY, f"it is of {summary['epochs']} epochs, {CONFIG} of {epochs}"
    if len(metrics) != summary["epochs"]:
        yield METRICS, f"it has {len(metrics)} epochs, {SUMMARY} {summary['epochs']}"
        return
    error = f"{summary['evaluated']}_error"
    every = training.get("evaluate_every", 1)  # older records do not name it
    if not _is_integer(every):
        yield CONFIG, f"training.evaluate_every is {every!r}"
        return
    errors = {line["epoch"]: line[error] for line in metrics if error in line}
    for epoch in range(1, epochs + 1):
        if (epoch in errors) != is_evaluated(epoch, epochs, every):
            yield METRICS, f"line {epoch} has {'a' if epoch in errors else 'no'} {error}"
            return
    if errors[epochs] != summary["final"][error]:
        yield (
            SUMMARY,
            f"its {error} is {summary['final'][error]}, that of {METRICS} {errors[epochs]}",
        )
    best = min(errors, key=errors.__getitem__)
    if summary["best"] != {"epoch": best, error: errors[best]}:
        yield SUMMARY, f"its best epoch is not that of {METRICS}"


def _wrong_in_summary(summary: Mapping[str, Any]) -> Iterator[str]:
    for key in ("experiment", "dataset", "augmentation", "method"):
        if not isinstance(summary.get(key), str):
            yield f"{key} is no text"
    for key in ("seed", "epochs"):
        if not _is_integer(summary.get(key)):
            yield f"{key} is no integer"
    if summary.get("evaluated") not in ("test", "validation"):
        yield "it does not say which images were evaluated"
        return
    error = f"{summary['evaluated']}_error"
    for part, keys in (("final", (error, "fit_error")), ("best", (error,))):
        numbers = summary.get(part)
        if not isinstance(numbers, dict):
            yield f"it has no {part!r} numbers"
            continue
        for key in keys:
            if not _is_number(numbers.get(key), 0, 100):
                yield f"{part}.{key} is {numbers.get(key)!r}, no error in %"
    if not _is_number(summary.get("seconds"), 0):
        yield f"seconds is {summary.get('seconds')!r}"
    if not isinstance(summary.get("files", {}), dict):
        yield "its list of files is none"


def _wrong_in_line(line: Any, epoch: int) -> Iterator[str]:
    if not isinstance(line, dict):
        yield "is no JSON object"
        return
    if line.get("epoch") != epoch or not _is_integer(line["epoch"]):
        yield f"is of epoch {line.get('epoch')!r}"
    for key, value in line.items():
        most = _most(key)
        if most is None or (type(value) is float and 0 <= value <= most):
            continue  # the usual case: a table may read a million of them
        if not _is_number(value, 0, most):
            yield f"has {key} {value!r}" + (", no error in %" if most == 100 else "")


@lru_cache(maxsize=256)
def _most(key: str) -> float | None:
    """The largest value that it can have in a line, from 0; None where any will do."""
    if key.endswith("_error"):
        return 100
    return sys.float_info.max if key.endswith(("_loss", "seconds")) else None


def _is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and low <= value <= high


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# ---------------------------------------------------------------------- bytes


def json_of(path: Path) -> Any:
    """A file's JSON, or None if there is no such file."""
    text = text_of(path)
    if text is None:
        return None
    try:
        value = _decode(text)
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(path, f"no JSON ({error})") from error
    if value is None:
        raise DamagedRecord(path, "it holds nothing")
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


_decode = json.JSONDecoder(parse_constant=_no_number).decode  # json.loads makes one a call
