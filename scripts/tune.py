"""Find each method's settings on held-out images: ``python scripts/tune.py tuning=smoke``.

Trains the missing trials in child processes, then chooses. ``--help`` lists the tunings.
"""

import sys
from functools import partial
from pathlib import Path

import hydra
from omegaconf import DictConfig

from gnp.cli import command_line, run_cli
from gnp.report.series import carry_out
from gnp.settings import setting_names
from gnp.settings.help import offer_help
from gnp.settings.job import StudyJobSettings, load, setting_names_of
from gnp.tuning import TuningSpec, render, second_round_in_words, wanted_after, wanted_now

TRAIN = Path(__file__).resolve().with_name("train.py")


@hydra.main(version_base="1.3", config_path="../configs", config_name="tune")
def main(composed: DictConfig) -> None:
    spec, how = load(composed, TuningSpec, StudyJobSettings)
    command = command_line("scripts/tune.py")
    runs, later = partial(wanted_now, spec, how.root), partial(second_round_in_words, spec)
    carry_out(spec, runs, how, TRAIN, command, render, wanted_after, later)


if __name__ == "__main__":
    offer_help(StudyJobSettings, tuning=TuningSpec)
    sys.exit(run_cli(main, lambda: setting_names_of(TuningSpec, StudyJobSettings), setting_names))
