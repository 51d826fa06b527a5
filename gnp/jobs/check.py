"""Whether the records that are there are of the runs that are wanted, before any is trained."""

import os
from collections.abc import Sequence
from contextlib import suppress

from gnp.jobs.finished import FinishedRun, Records, read_runs, read_runs_ahead
from gnp.jobs.job import Job
from gnp.jobs.same_data import DataDigests
from gnp.jobs.wanted import SeriesMismatch, Wanted
from gnp.settings import ConfigError, unrecorded
from gnp.settings.series import Series
from gnp.tracking.compare import config_difference
from gnp.tracking.reading import SUMMARY, DamagedRecord, read_config


def check_records(spec: Series, runs: Sequence[Job], root: str, wanted: Wanted) -> Records:
    """Compare all records under ``root``, half-done ones too, with what is wanted. Returns what was
    read of the finished ones. All configs are composed: an override such as optimizer.alpha=0 may
    make other runs of some and leave the others as they are. One that its settings refuse is left
    to its own start, but for the first and the last.

    Args:
        spec: the table or the study that ``runs`` are of.

    Raises:
        ConfigError: a setting of the spec does not exist or has a wrong value.
        SeriesMismatch: an override makes a run another one, or a record was made with another
            config or on other data; shows the differences.
        DataUnknown: the data could not be loaded to be compared.
    """
    wanted(runs[0])
    wanted(runs[-1])
    for run in runs:
        with suppress(ConfigError):
            wanted(run)
    recorded = [run for run in runs if os.path.exists(run.folder(root) / SUMMARY)]
    with DataDigests(wanted(run)["dataset"] for run in recorded) as digests:
        read_runs_ahead(recorded, root, wanted)
        records = read_runs(runs, root, wanted, unrecorded())
        _refuse_other_configs(spec, runs, root, wanted, records)
        _refuse_other_data(records.finished, wanted, digests)
    return records


def _refuse_other_configs(
    spec: Series, runs: Sequence[Job], root: str, wanted: Wanted, records: Records
) -> None:
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


def _refuse_other_data(
    finished: Sequence[FinishedRun], wanted: Wanted, digests: DataDigests
) -> None:
    strangers = [
        f
        for f in finished
        if f.record.data is not None
        and digests.of(wanted(f.run)["dataset"]) not in (None, f.record.data)
    ]
    if strangers:
        raise SeriesMismatch(
            f"{len(strangers)} recorded runs were trained on other images and labels than are "
            f"loaded now:\n"
            + "\n".join(f"  {run.folder}" for run in strangers)
            + "\nSet the data's place back (the variable GNP_DATA, or overrides=['data_root=…']), "
            "or take another root=…."
        )


def _difference(run: Job, root: str, wanted: Wanted) -> list[str]:
    """Of a record that is not finished, or damaged."""
    try:
        recorded = read_config(run.folder(root))
    except DamagedRecord:  # its own start mends it or says what to do
        return []
    if recorded is None:
        return []
    return config_difference(recorded, wanted(run), unrecorded())
