"""Find each method's settings on held-out images: ``python scripts/tune.py tuning=smoke``.

Trains the missing trials in child processes, then chooses. ``--help`` lists the tunings.
"""

import sys
from functools import partial
from pathlib import Path

import hydra
from omegaconf import DictConfig

from gnp.cli import command_line, run_cli
from gnp.jobs import WantedConfigs, refuse_to_pass_over, reproduce
from gnp.report.plan import show_plan
from gnp.settings import suggest
from gnp.settings.help import offer_help
from gnp.settings.job import StudyJobSettings, load, setting_names_of
from gnp.tuning import TuningSpec, render

TRAIN = Path(__file__).resolve().with_name("train.py")


@hydra.main(version_base="1.3", config_path="../configs", config_name="tune")
def main(composed: DictConfig) -> None:
    spec, how = load(composed, TuningSpec, StudyJobSettings)
    command = command_line("scripts/tune.py")
    if how.plan:
        show_plan(spec, list(spec.runs()), how)
    elif not how.render_only:
        reproduce(spec, list(spec.runs()), how, TRAIN, partial(render, spec, how.root, command))
    elif not how.dry_run:
        wanted = WantedConfigs(spec, how.root)
        refuse_to_pass_over(render(spec, how.root, command, wanted))


if __name__ == "__main__":
    offer_help(StudyJobSettings, tuning=TuningSpec)
    sys.exit(run_cli(main, lambda: setting_names_of(TuningSpec, StudyJobSettings), suggest))
