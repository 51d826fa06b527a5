"""All finished runs below a root, with the settings in which they differ: what a sweep tried."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnp.report.files import csv_text
from gnp.screen import shortened, wrapped
from gnp.tracking.ahead import read_ahead
from gnp.tracking.compare import VOLATILE, flatten, without
from gnp.tracking.reading import DamagedRecord, read_finished

NAMES = ("experiment", "data", "method", "seed")
SHORTEST = 12  # characters: no name is shortened to fewer
# Named by the identity columns, or no setting.
LISTED_ANYWAY = {"seed", "method", "experiment", "dataset.name", "augmentation.name"}


def list_runs(
    root: str | Path, unrecorded: Mapping[str, Any] = {}
) -> tuple[list[dict[str, Any]], list[str]]:
    """One dict a finished run, all with the same keys, sorted by error; and a line for each record
    that is left out because it is damaged.

    Keys: experiment, data, method, seed; each setting that is not the same in all runs; evaluated
    split, its error (last epoch), the error on the training images and the seconds.

    Args:
        unrecorded: what a record that does not name a setting was made with.
    """
    runs, complaints = [], []
    known = flatten(without(unrecorded, VOLATILE))
    folders = [file.parent for file in sorted(Path(root, "runs").glob("**/summary.json"))]
    read_ahead(folders)
    for folder in folders:
        try:
            record = read_finished(folder)
        except DamagedRecord as error:
            complaints.append(f"{error}; it is left out")
            continue
        if record is not None:
            runs.append((record.summary, known | flatten(without(record.config, VOLATILE))))
    keys = sorted({key for _, config in runs for key in config} - LISTED_ANYWAY)
    varying = [k for k in keys if len({repr(config.get(k)) for _, config in runs}) > 1]
    listed = [
        {
            "experiment": summary["experiment"],
            "data": f"{summary['dataset']}-{summary['augmentation']}",
            "method": summary["method"],
            "seed": summary["seed"],
            **{key: config.get(key, "") for key in varying},
            "evaluated": summary["evaluated"],
            "error": summary["final"][f"{summary['evaluated']}_error"],
            "fit_error": round(summary["final"]["fit_error"], 4),
            "seconds": summary["seconds"],
        }
        for summary, config in runs
    ]
    return sorted(listed, key=lambda run: run["error"]), complaints


def to_csv(runs: list[dict[str, Any]]) -> str:
    return csv_text(runs[0], (run.values() for run in runs))


def aligned(runs: list[dict[str, Any]], width: int | None = None) -> str:
    """Columns in which the runs differ, under the last part of their names, two spaces apart. Where
    they are wider than ``width``, the last ones before the error are left out, and then names are
    shortened."""
    columns = {
        key: [key.rsplit(".", 1)[-1], *(_shown(run[key]) for run in runs)]
        for key in runs[0]
        if len({str(run[key]) for run in runs}) > 1 or key.endswith("error")
    }
    left_out = []
    for key in reversed([key for key in columns if key not in (*NAMES, "error")]):
        if width is not None and _width(columns) > width:
            left_out.append(columns.pop(key)[0])
    for key in sorted(columns, key=lambda key: -max(map(len, columns[key]))):
        if width is not None and (excess := _width(columns) - width) > 0:
            room = max(map(len, columns[key])) - excess
            columns[key] = [shortened(text, max(room, SHORTEST)) for text in columns[key]]
    padded = [_padded(column) for column in columns.values()]
    lines = ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
    if left_out:
        lines.append(wrapped(f"Left out, with --csv in a file: {', '.join(left_out[::-1])}", width))
    return "\n".join(lines)


def _padded(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    return [text.ljust(width) for text in column]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _width(columns: Mapping[str, list[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in columns.values()) - 2
