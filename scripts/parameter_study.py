"""Test error over a grid of r and α: ``python scripts/parameter_study.py study=smoke``.

Trains the missing runs in child processes, then draws. ``--help`` lists the studies.
"""

import shlex
import sys
from dataclasses import replace

import hydra
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from render_table import show
from reproduce_table import train_missing
from rich.console import Console

from gnp.cli import run_cli
from gnp.errors import UserError
from gnp.studies import Run, StudyError, StudySpec, collect, write_outputs
from gnp.studies.grid import number
from gnp.studies.report import missing_commands, notes, to_terminal
from gnp.tracking.record import config_difference, read_config
from gnp.training.config import defaults, resolve, run_path, suggest, to_plain

SETTINGS = (
    *("root", "jobs", "device", "overrides", "dry_run", "render_only", "study"),
    *(f"study.{name}" for name in StudySpec.__dataclass_fields__),
)


class StudyIncomplete(UserError):
    """Some runs failed; the others are done."""

    exit_status = 1


@hydra.main(version_base="1.3", config_path="../configs", config_name="parameter_study")
def main(composed: DictConfig) -> None:
    spec = load_spec(composed)
    console = Console(soft_wrap=True, highlight=False)
    failed = []
    if not composed.render_only:
        runs = list(spec.runs())
        check_configs(spec, runs, composed.root)
        failed = train_missing(spec, runs, composed, console)
    if composed.dry_run:
        return
    render(spec, composed.root, console)
    if failed:
        raise StudyIncomplete(
            f"{len(failed)} runs failed:\n" + "\n".join(f"  {failure}" for failure in failed)
        )


def load_spec(composed: DictConfig) -> StudySpec:
    """The study's spec, with the command line's overrides after its own."""
    spec = StudySpec.from_config(OmegaConf.to_container(composed.study, resolve=True))
    return replace(spec, overrides=[*spec.overrides, *composed.overrides])


def check_configs(spec: StudySpec, runs: list[Run], root: str) -> None:
    """Compose the configs of the first and the last run and of all recorded ones, before any child
    starts. Two, because an override such as optimizer.alpha=0 leaves the first as it is.

    Raises:
        ConfigError: a setting of the study does not exist or has a wrong value.
        StudyError: an override makes a run another one, or a record was made with another config;
            shows the differences.
    """
    complaints = []
    for run in runs:
        recorded = read_config(run.folder(root))
        if recorded is None and run not in (runs[0], runs[-1]):
            continue
        config = resolve(compose("train", [*run.settings(), f"root={root}", *spec.overrides]))
        wanted, optimizer = (number(run.point.r), number(run.point.alpha)), config.optimizer
        if (str(run_path(config)), config.root) != (str(run.path), root) or wanted != (
            number(optimizer.r),
            number(optimizer.alpha),
        ):
            raise StudyError(
                f"study {spec.name}: overrides change which run it is: {run.path} in {root} became "
                f"{run_path(config)} in {config.root} with r={optimizer.r:g} and "
                f"alpha={optimizer.alpha:g}; set root=… and study.r=…, study.seeds=… instead"
            )
        if recorded is not None and (
            difference := config_difference(recorded, to_plain(config), defaults())
        ):
            complaints.append(f"  {run.folder(root)}: {'; '.join(difference)}")
    if complaints:
        raise StudyError(
            f"{len(complaints)} recorded runs have another config than study {spec.name} wants:\n"
            + "\n".join(complaints)
            + "\nDelete those folders to train them again, or take another root=…."
        )


def render(spec: StudySpec, root: str, console: Console) -> None:
    """Write the outputs, print the grid and the outputs' paths."""
    settings = HydraConfig.get().overrides.task
    command = shlex.join(["python", "scripts/parameter_study.py", *settings])
    study = collect(spec, root, command, defaults())
    paths = write_outputs(study)
    shown = [to_terminal(study)]
    show(console, shown, notes(study), study.warnings, missing_commands(study), paths)


if __name__ == "__main__":
    sys.exit(run_cli(main, lambda: SETTINGS, suggest))
