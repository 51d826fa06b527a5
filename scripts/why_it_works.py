"""Why it works, measured: ``python scripts/why_it_works.py why=geometry``.

Trains the missing runs in child processes, measures their weights, then draws. ``--help`` lists the
studies.
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from gnp.cli import command_line, run_cli
from gnp.settings import setting_names
from gnp.settings.help import offer_help
from gnp.settings.job import StudyJobSettings, load, setting_names_of
from gnp.studies.why.carry import carry_out
from gnp.studies.why.spec import KINDS, spec_class

TRAIN = Path(__file__).resolve().with_name("train.py")


@hydra.main(version_base="1.3", config_path="../configs", config_name="why_it_works")
def main(composed: DictConfig) -> None:
    spec, how = load(composed, spec_class(composed.why), StudyJobSettings)
    carry_out(spec, how, TRAIN, command_line("scripts/why_it_works.py"))


def own_names() -> list[str]:
    return [name for kind in KINDS.values() for name in setting_names_of(kind, StudyJobSettings)]


if __name__ == "__main__":
    offer_help(StudyJobSettings, why=spec_class)
    sys.exit(run_cli(main, own_names, setting_names))
