"""Regenerate a table: ``python scripts/reproduce_table.py table=quickstart``.

Trains the missing runs in child processes, then renders. ``plan=true`` shows what that
would take. ``--help`` lists the tables.
"""

import sys
from functools import partial
from pathlib import Path

import hydra
from omegaconf import DictConfig

from gnp.cli import command_line, run_cli
from gnp.jobs import WantedConfigs, reproduce
from gnp.report.plan import show_plan
from gnp.settings import setting_names
from gnp.settings.help import offer_help
from gnp.settings.job import TableJobSettings, load, setting_names_of
from gnp.tables import Seeds, TableSpec

TRAIN = Path(__file__).resolve().with_name("train.py")


@hydra.main(version_base="1.3", config_path="../configs", config_name="reproduce_table")
def main(composed: DictConfig) -> None:
    spec, how = load(composed, TableSpec, TableJobSettings)
    seeds, wanted = Seeds(spec, how), WantedConfigs(spec, how.root)
    if how.plan or how.dry_run:  # of what is wanted by now
        seeds.grow(wanted)
    if how.plan:
        show_plan(spec, seeds.runs(), how, seeds.later_in_words(wanted))
    else:
        command = command_line("scripts/reproduce_table.py")
        reproduce(spec, seeds.runs(), how, TRAIN, partial(seeds.render, command), seeds.more)


if __name__ == "__main__":
    offer_help(TableJobSettings, table=TableSpec)
    sys.exit(run_cli(main, lambda: setting_names_of(TableSpec, TableJobSettings), setting_names))
