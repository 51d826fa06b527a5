"""Rebuild a table's files from the run records: ``python scripts/render_table.py table=cnn_mini
root=results``. Trains nothing and needs no torch.
"""

import gc
import sys

import hydra
from omegaconf import DictConfig

from gnp.cli import command_line, run_cli
from gnp.jobs import WantedConfigs, refuse_to_pass_over
from gnp.settings import setting_names
from gnp.settings.help import offer_help
from gnp.settings.job import TableJobSettings, TableRenderSettings, load, setting_names_of
from gnp.tables import Seeds, TableSpec


@hydra.main(version_base="1.3", config_path="../configs", config_name="render_table")
def main(composed: DictConfig) -> None:
    gc.set_threshold(100_000)  # records stay until the end: more looking for cycles finds none
    spec, how = load(composed, TableSpec, TableRenderSettings)
    wanted = WantedConfigs(spec, how.root)
    command = command_line("scripts/reproduce_table.py")
    refuse_to_pass_over(Seeds(spec, how).render(command, wanted))


def own_names() -> list[str]:
    return setting_names_of(TableSpec, TableRenderSettings)


def unread_names() -> list[str]:
    return setting_names_of(TableSpec, TableJobSettings)


if __name__ == "__main__":
    offer_help(TableRenderSettings, table=TableSpec)
    sys.exit(run_cli(main, own_names, setting_names, unread_names))
