"""Regenerate a table: ``python scripts/reproduce_table.py table=quickstart``.

Trains the missing runs in child processes, then renders. ``--help`` lists the tables.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra import compose
from omegaconf import DictConfig
from render_table import SETTINGS, load_spec, render
from rich.console import Console

from gnp.cli import run_cli
from gnp.errors import UserError
from gnp.settings import defaults, resolve, run_path, suggest, to_plain
from gnp.tables import Pool, SpecError, cpu_slots, gpu_slots
from gnp.tables.progress import PoolProgress
from gnp.tables.spec import Training
from gnp.tracking.record import config_difference, read_config, read_summary

TRAIN = Path(__file__).resolve().with_name("train.py")


class ConfigMismatch(UserError):
    """The runs that a table or a study wants are not those that its settings describe."""


class TableIncomplete(UserError):
    """Some runs failed; the others are done."""

    exit_status = 1


@hydra.main(version_base="1.3", config_path="../configs", config_name="reproduce_table")
def main(composed: DictConfig) -> None:
    spec = load_spec(composed)
    console = Console(soft_wrap=True, highlight=False)
    runs = list(spec.runs())
    check_configs("table", spec, runs, composed.root)
    failed = train_missing(spec, runs, composed, console)
    if composed.dry_run:
        return
    render(spec, composed.root, console)
    if failed:
        raise TableIncomplete(
            f"{len(failed)} of {len(runs)} runs failed:\n"
            + "\n".join(f"  {failure}" for failure in failed)
        )


def train_missing(spec, runs: Sequence[Training], composed: DictConfig, console: Console) -> list:
    """Train what has no summary, or with ``dry_run`` show its commands. Returns the failures.

    ``spec`` is a table's or a study's; ``composed`` has its root, device, jobs and dry_run.
    """
    root = composed.root
    missing = [run for run in runs if read_summary(run.folder(root)) is None]
    done = len(runs) - len(missing)
    console.print(f"{spec.title}: {len(runs)} runs, {done} finished in {root}", markup=False)
    if composed.dry_run:
        for run in missing:
            console.print(run.command(root, spec.overrides), markup=False)
    if composed.dry_run or not missing:
        return []
    slots = choose_slots(composed.device, composed.jobs)
    with PoolProgress(console, done, len(runs)) as progress:
        pool = Pool(missing, root, TRAIN, slots, spec.overrides, progress.watch)
        pool.run()
    return pool.failed


def check_configs(kind: str, spec, runs: Sequence[Training], root: str) -> None:
    """Compose the configs of the first and the last run and of all recorded ones, before any child
    starts. Two, because an override such as optimizer.alpha=0 may leave the first as it is.

    Args:
        kind: "table" or "study", which ``spec`` is one of.

    Raises:
        ConfigError: a setting of the spec does not exist or has a wrong value.
        ConfigMismatch: an override makes a run another one, or a record was made with another
            config; shows the differences.
    """
    complaints = []
    for run in runs:
        recorded = read_config(run.folder(root))
        if recorded is None and run not in (runs[0], runs[-1]):
            continue
        config = resolve(compose("train", [*run.settings(), f"root={root}", *spec.overrides]))
        place = (str(run_path(config)), config.root)
        change = run.change_in(config.optimizer)
        if place != (str(run.path), root) or change:
            raise ConfigMismatch(
                f"{kind} {spec.name}: overrides change which run it is: {run.path} in {root} "
                f"became {place[0]} in {place[1]}{change}; set root=… and {kind}.…=… instead"
            )
        if recorded is not None and (
            difference := config_difference(recorded, to_plain(config), defaults())
        ):
            complaints.append(f"  {run.folder(root)}: {'; '.join(difference)}")
    if complaints:
        raise ConfigMismatch(
            f"{len(complaints)} recorded runs have another config than {kind} {spec.name} wants:\n"
            + "\n".join(complaints)
            + "\nDelete those folders to train them again, or take another root=…."
        )


def available_cores() -> int:
    """Cores that this process may use; systems other than Linux do not say, so all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_slots(device: str, jobs: int | None):
    """GPU slots where there are GPUs and they are wanted, else CPU slots."""
    if device not in ("auto", "cpu", "cuda"):
        raise SpecError(f"device={device}: expected auto, cpu or cuda")
    if jobs is not None and jobs < 1:
        raise SpecError(f"jobs={jobs}: expected at least 1")
    slots = [] if device == "cpu" else gpu_slots(jobs)
    if not slots and device == "cuda":
        raise SpecError("device=cuda, but nvidia-smi lists no GPU")
    return slots or cpu_slots(jobs, available_cores())


if __name__ == "__main__":
    sys.exit(run_cli(main, lambda: SETTINGS, suggest))
