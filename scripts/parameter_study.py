"""Test error over a grid of r and α: ``python scripts/parameter_study.py study=smoke``.

Trains the missing runs in child processes, then draws. ``--help`` lists the studies.
"""

import shlex
import sys
from dataclasses import replace

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from render_table import show
from reproduce_table import check_configs, train_missing
from rich.console import Console

from gnp.cli import run_cli
from gnp.errors import UserError
from gnp.settings import defaults, suggest
from gnp.studies import StudySpec, collect, write_outputs
from gnp.studies.report import missing_commands, notes, to_terminal

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
        check_configs("study", spec, runs, composed.root)
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
