"""Rebuild a table's files from the run records: ``python scripts/render_table.py table=cnn_mini
root=results``. Trains nothing and needs no torch.
"""

import shlex
import sys
from dataclasses import replace

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from gnp.cli import run_cli
from gnp.settings import defaults, suggest
from gnp.tables import TableSpec, collect, write_outputs
from gnp.tables.render import missing_commands, natural_width, notes, to_terminal

SETTINGS = (
    "root",
    "jobs",
    "device",
    "overrides",
    "dry_run",
    "table",
    "table.seeds",
    "table.fidelity",
    "table.error_of",
)


@hydra.main(version_base="1.3", config_path="../configs", config_name="reproduce_table")
def main(composed: DictConfig) -> None:
    render(load_spec(composed), composed.root, Console(soft_wrap=True))


def load_spec(composed: DictConfig) -> TableSpec:
    """The table's spec, with the command line's overrides after its own."""
    spec = TableSpec.from_config(OmegaConf.to_container(composed.table, resolve=True))
    return replace(spec, overrides=[*spec.overrides, *composed.overrides])


def render(spec: TableSpec, root: str, console: Console) -> None:
    """Write the outputs, print the table and the outputs' paths."""
    settings = HydraConfig.get().overrides.task
    command = shlex.join(["python", "scripts/reproduce_table.py", *settings])
    table = collect(spec, root, command, defaults())
    paths = write_outputs(table)
    shown = to_terminal(table, console.width if console.is_terminal else None)
    show(console, shown, notes(table), table.warnings, missing_commands(table), paths)


def show(console, tables, notes, warnings, missing, paths) -> None:
    """Print a table's or a study's grids and all that must be read with them."""
    console.print()
    for table in tables:
        # As wide as the table: a line too long for the terminal wraps, but no number is cut.
        Console(width=natural_width(table)).print(table)
    for line in [*notes, *(f"warning: {warning}" for warning in warnings)]:
        console.print(line, markup=False, highlight=False)
    if missing:
        console.print(f"{len(missing)} runs are missing, the first: {missing[0]}", markup=False)
    console.print("\nwritten:", *(f"  {path}" for path in paths), sep="\n", markup=False)


if __name__ == "__main__":
    sys.exit(run_cli(main, lambda: SETTINGS, suggest))
