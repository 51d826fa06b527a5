"""Whether the records that are there are of the runs that are wanted, before any is trained."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gnp.jobs.finished import FinishedRun, Records, read_runs
from gnp.jobs.job import Job
from gnp.jobs.wanted import SeriesMismatch, Wanted
from gnp.settings import unrecorded
from gnp.settings.series import Series
from gnp.tracking.compare import config_difference
from gnp.tracking.reading import DamagedRecord, read_config


def check_records(spec: Series, runs: Sequence[Job], root: str, wanted: Wanted) -> Records:
    """Compare all records under ``root``, half-done ones too, with what is wanted. Returns what was
    read of the finished ones. The configs of the first and the last run are composed in any case:
    two, because an override such as optimizer.alpha=0 may leave the first as it is.

    Args:
        spec: the table or the study that ``runs`` are of.

    Raises:
        ConfigError: a setting of the spec does not exist or has a wrong value.
        SeriesMismatch: an override makes a run another one, or a record was made with another
            config or on other data; shows the differences.
    """
    wanted(runs[0])
    wanted(runs[-1])
    records = read_runs(runs, root, wanted, unrecorded())
    others = {other.run: other.difference for other in records.others}
    half_done = {
        run: _difference(run, root, wanted) for run in records.missing if run not in others
    }
    complaints = [
        f"  {run.folder(root)}: {'; '.join(difference)}"
        for run in runs
        if (difference := others.get(run) or half_done.get(run))
    ]
    if complaints:
        raise SeriesMismatch(
            f"{len(complaints)} recorded runs have another config than {spec.kind} {spec.name} "
            f"wants:\n"
            + "\n".join(complaints)
            + "\nDelete those folders to train them again, or take another root=…."
        )
    if strangers := _on_other_data(records.finished, wanted):
        raise SeriesMismatch(
            f"{len(strangers)} recorded runs were trained on other images and labels than are "
            f"loaded now:\n"
            + "\n".join(f"  {run.folder}" for run in strangers)
            + "\nSet the data set's place back (dataset.root=…, data_root=…), or take another "
            "root=…."
        )
    return records


def _difference(run: Job, root: str, wanted: Wanted) -> list[str]:
    """Of a record that is not finished, or damaged."""
    try:
        recorded = read_config(run.folder(root))
    except DamagedRecord:  # its own start mends it or says what to do
        return []
    if recorded is None:
        return []
    return config_difference(recorded, wanted(run), unrecorded())


def _on_other_data(finished: Sequence[FinishedRun], wanted: Wanted) -> list[FinishedRun]:
    """The runs whose digest is not that of their data set as it is now.

    Data that are not there cannot be compared: a record does not need them to be shown.
    """
    datasets: dict[str, Mapping[str, Any]] = {}
    recorded = [(f, wanted(f.run)["dataset"]) for f in finished if f.record.data is not None]
    for _, dataset in recorded:
        datasets.setdefault(json.dumps(dataset), dataset)
    if not datasets:
        return []
    # In a process of its own: what reads records needs no torch.
    done = subprocess.run(
        [sys.executable, "-m", "gnp.data"],
        input=json.dumps(list(datasets.values())),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip() or "it printed nothing").splitlines()[-1]
        raise SeriesMismatch(f"the data cannot be compared with those of the records: {reason}")
    digests = dict(zip(datasets, json.loads(done.stdout), strict=True))
    return [
        f for f, dataset in recorded if digests[json.dumps(dataset)] not in (None, f.record.data)
    ]
