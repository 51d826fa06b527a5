"""What a record is in wandb: config, a row an epoch, tables, summary. Knows no wandb."""

import csv
import io
from calendar import timegm
from collections.abc import Sequence
from pathlib import Path
from time import strptime
from typing import Any

from gnp.settings import path_of
from gnp.tables.published import Published
from gnp.tracking.compare import PLACES, without
from gnp.tracking.predictions import read_predictions
from gnp.tracking.reading import IDENTITY, FinishedRecord
from gnp.tracking.wandb_mirror import numbers_of

# How it was run and who watched: another matter each time.
LEFT_OUT = (*PLACES, ("wandb",))
Columns, Lines = list[str], list[list[Any]]


def identity_of(record: FinishedRecord) -> str:
    """Its place below "runs", as ``run_path`` names it."""
    return str(path_of(*(record.summary[key] for key in IDENTITY)))


def config_of(record: FinishedRecord) -> dict[str, Any]:
    """The recorded config, and under "environment" what the last start says of code and machine."""
    last = record.environments[-1] if record.environments else {}
    kept = {k: v for k, v in last.items() if k not in ("overrides", "config", "sha256", "schema")}
    return {**without(record.config, LEFT_OUT), "environment": kept}


def rows_of(record: FinishedRecord) -> list[dict[str, Any]]:
    """The epochs' metrics, whichever were recorded, each with the time at which it ended: the
    run's end less what came after it. An older record does not name its end."""
    if "finished" not in record.summary:
        return [dict(line) for line in record.metrics]
    left = sum(line["seconds"] for line in record.metrics)
    ended = float(timegm(strptime(record.summary["finished"], "%Y-%m-%dT%H:%M:%SZ")))
    rows = []
    for line in record.metrics:
        left -= line["seconds"]
        rows.append({**line, "_timestamp": ended - left})
    return rows


def summary_of(record: FinishedRecord, published: Published | None) -> dict[str, Any]:
    """The record's numbers; beside them the published value and ours less it."""
    numbers = numbers_of(record.summary)
    if published is not None:
        error = record.summary["final"][f"{record.summary['evaluated']}_error"]
        numbers |= {
            "published_error": published.error,
            "difference_to_published": round(error - published.error, 4),
        }
        if published.std is not None:
            numbers["published_std"] = published.std
    return numbers


def epochs_table(record: FinishedRecord) -> tuple[Columns, Lines]:
    """The metrics as they are recorded; None where an epoch has none."""
    names = list(dict.fromkeys(name for line in record.metrics for name in line))
    return names, [[line.get(name) for name in names] for line in record.metrics]


def classes_table(record: FinishedRecord) -> tuple[Columns, Lines] | None:
    """For each class its images, their error (%) and the mean probability of what was predicted;
    None without predictions.

    Raises:
        DamagedRecord: as ``read_predictions``.
    """
    predictions = read_predictions(record.folder)
    if predictions is None:
        return None
    lines: Lines = []
    for label in sorted(set(predictions.labels.tolist())):
        those = predictions.labels == label
        wrong = 100 * float((~predictions.correct[those]).mean())
        lines.append([label, int(those.sum()), wrong, float(predictions.confidence[those].mean())])
    return ["class", "images", "error", "confidence"], lines


def csv_table(file: Path) -> tuple[Columns, Lines]:
    """A CSV's columns and lines; a column of numbers is one, an empty entry is None."""
    columns, *lines = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"))))
    read = [_numbers([line[k] for line in lines]) for k in range(len(columns))]
    return columns, [list(line) for line in zip(*read, strict=True)]


def _numbers(column: Sequence[str]) -> list[Any]:
    entries = [entry if entry != "" else None for entry in column]
    try:
        return [None if entry is None else float(entry) for entry in entries]
    except ValueError:
        return entries
