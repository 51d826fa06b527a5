"""Test error over a grid of r and α: ``python scripts/parameter_study.py study=smoke``.

Trains the missing runs in child processes, then draws. ``--help`` lists the studies.
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from gnp.cli import command_line, run_cli
from gnp.report.series import carry_out
from gnp.settings import setting_names
from gnp.settings.help import offer_help
from gnp.settings.job import StudyJobSettings, load, setting_names_of
from gnp.studies import StudySpec, render

TRAIN = Path(__file__).resolve().with_name("train.py")


@hydra.main(version_base="1.3", config_path="../configs", config_name="parameter_study")
def main(composed: DictConfig) -> None:
    spec, how = load(composed, StudySpec, StudyJobSettings)
    command = command_line("scripts/parameter_study.py")
    carry_out(spec, spec.runs, how, TRAIN, command, render)


if __name__ == "__main__":
    offer_help(StudyJobSettings, study=StudySpec)
    sys.exit(run_cli(main, lambda: setting_names_of(StudySpec, StudyJobSettings), setting_names))
