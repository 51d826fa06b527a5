"""From the runs that are wanted to the files: check, train, render, say what failed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from gnp.errors import UserError
from gnp.files import StorageError
from gnp.jobs.check import check_records
from gnp.jobs.cluster import submit
from gnp.jobs.finished import Records
from gnp.jobs.job import Job
from gnp.jobs.pool import Failure, Pool
from gnp.jobs.progress import PoolProgress
from gnp.jobs.slots import choose_slots
from gnp.jobs.wanted import Wanted, WantedConfigs, modules_of
from gnp.screen import width_of, wrapped
from gnp.settings.job import JobSettings
from gnp.settings.series import Series


class RunsFailed(UserError):
    """Some runs failed; the others are done."""

    exit_status = 1


class RecordsLeftOut(UserError):
    """What was shown is without some records that are there."""

    exit_status = 1


def refuse_to_pass_over(warnings: Sequence[str]) -> None:
    """Raise RecordsLeftOut if there are warnings, which stand in every output: a script that looks
    at nothing but the exit status has to notice, too."""
    if warnings:
        raise RecordsLeftOut(
            f"records that are there are left out of what is shown ({len(warnings)}): see the "
            f"warnings"
        )


def reproduce(
    spec: Series,
    runs: Sequence[Job],
    how: JobSettings,
    train: Path,
    render: Callable[[Wanted], Sequence[str]],
    more: Callable[[Wanted], Sequence[Job]] = lambda wanted: (),
) -> None:
    """Train what is missing, then render what is there. A dry run shows what would be trained.
    With a cluster, hand it to that.

    Args:
        spec: the table or the study that ``runs`` are of.
        runs: all of them, in the order in which they are to be trained.
        train: the training script.
        render: writes and shows the outputs, given what records are compared with; returns the
            warnings about records that are left out.
        more: called when all are trained or have failed: all runs that are wanted then. It is
            called again until none of them is new.

    Raises:
        ConfigError, SeriesMismatch: as ``check_records``; nothing was started.
        RunsFailed: names the runs that failed (without ``fail_fast`` those apart that diverged,
            which is an outcome that ``render`` speaks of). The others were trained and rendered.
        RecordsLeftOut: records that were there could not be used.
        NoCluster: as ``submit``.
        StorageError: no run failed, but the outputs could not be written.
    """
    wanted = WantedConfigs(spec, how.root)
    failed: list[Failure] = []
    while True:
        records = check_records(spec, runs, how.root, wanted)
        if how.cluster.scheduler != "none" and records.missing:
            submit(spec, how, len(records.missing), Console(soft_wrap=True, highlight=False))
            return
        given_up = {failure.run for failure in failed}
        some = [run for run in runs if run not in given_up]
        again, left = train_missing(spec, some, how, train, wanted, records)
        failed += again
        if how.dry_run:
            return
        if left or (failed and how.fail_fast):
            break
        further = more(wanted)
        if set(further) <= set(runs):
            break
        runs = further
    if not how.fail_fast:  # else it stopped the others
        # An outcome, which what is rendered says.
        failed = [failure for failure in failed if not failure.diverged]
    if left and not failed:
        print(f"{len(left)} runs are left to the processes that have them; the last one renders")
        return
    complaints = [f"  {failure}" for failure in failed]
    warnings: Sequence[str] = ()
    try:
        warnings = render(wanted)
    except StorageError as error:
        if not failed:
            raise
        complaints.append(str(error))
    if failed:
        stopped = ", the others were stopped (fail_fast=true)" if how.fail_fast and left else ""
        raise RunsFailed(
            f"{len(failed)} of {len(runs)} runs failed{stopped}:\n" + "\n".join(complaints)
        )
    refuse_to_pass_over(warnings)


def train_missing(
    spec: Series,
    runs: Sequence[Job],
    how: JobSettings,
    train: Path,
    wanted: Wanted,
    records: Records,
) -> tuple[list[Failure], list[Job]]:
    """Train what has no whole record, or with ``dry_run`` show its commands. Returns the failures,
    and the runs that were neither finished nor failed when it ended."""
    console = Console(soft_wrap=True, highlight=False)
    finished, diverged = len(records.finished), len(records.diverged)
    missing = set(records.missing)
    line = f"{spec.title}: {len(runs)} runs, {finished} finished"
    line += f", {diverged} diverged in {how.root}" if diverged else f" in {how.root}"
    console.print(wrapped(line, width_of(console)), markup=False)
    for _, error in records.damaged:
        console.print(f"{error}; it is made again", markup=False)
    left = [run for run in runs if run in missing]
    if how.dry_run:
        for run in left:
            console.print(run.command(how.root, spec.overrides), markup=False)
    if how.dry_run or not left:
        return [], []
    slots = choose_slots(how.device, how.jobs)
    with PoolProgress(console, finished + diverged, len(runs)) as progress:
        preload = modules_of(_configs(left, wanted))
        pool = Pool(
            left,
            how.root,
            train,
            slots,
            wanted,
            spec.overrides,
            preload,
            progress.watch,
            retries=how.retries,
            fail_fast=how.fail_fast,
            wait=how.wait,
            locks=how.locks,
        )
        pool.run()
    return pool.failed, pool.left


def _configs(runs: Sequence[Job], wanted: Wanted) -> Iterator[Mapping[str, Any]]:
    """Of a run that its settings refuse there is none: its own start says why."""
    for run in runs:
        with suppress(UserError):
            yield wanted(run)
