"""From a table's records to its files and the terminal. Trains nothing."""

import importlib
from pathlib import Path

from rich.console import Console

from gnp.jobs import Wanted, read_runs_ahead
from gnp.report.figures import import_matplotlib
from gnp.report.files import write_files
from gnp.report.page import to_html
from gnp.report.terminal import show
from gnp.screen import width_of
from gnp.settings import unrecorded
from gnp.statistics.sequential import FIXED_SEEDS
from gnp.statistics.verdict import Rule
from gnp.tables.collect import TableResult, collect
from gnp.tables.comparison_text import comparisons_csv
from gnp.tables.html import differences_picture, to_page
from gnp.tables.plots import learning_curves
from gnp.tables.predictions import judged
from gnp.tables.spec import TableSpec
from gnp.tables.text import notes, to_csv, to_latex, to_markdown, to_terminal


def render(
    spec: TableSpec, root: str, command: str, wanted: Wanted, rule: Rule = FIXED_SEEDS
) -> list[str]:
    """Read the records, print the table, write the outputs, print their paths. Returns warnings
    about records that are left out. ``rule`` decides between methods.

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
        StorageError: the outputs could not be written; all is shown.
    """
    console = Console(soft_wrap=True, highlight=False)
    read_runs_ahead(spec.runs(), root, wanted, _import_the_rest, judged)
    table = collect(spec, root, command, wanted, unrecorded(), rule)
    shown = to_terminal(table, width_of(console))
    show(console, table, shown, notes(table), write_outputs)
    return table.warnings


def _import_the_rest() -> None:
    import_matplotlib()
    importlib.import_module("scipy.special")  # where statistics name it, it would be loaded then


def write_outputs(table: TableResult) -> list[Path]:
    """Write every output below ``<root>/tables/<name>``, whole or not at all. Returns the paths."""
    folder = table.root / "tables" / table.spec.name
    curves = learning_curves(table)
    contents = {
        "table.md": to_markdown(table),
        "table.csv": to_csv(table),
        "comparisons.csv": comparisons_csv(table),
        "table.tex": to_latex(table),
        "curves.svg": curves.to_svg(),
        "report.html": to_html(to_page(table, folder, curves, unrecorded())),
    }
    if (differences := differences_picture(table, alone=True)) is not None:
        contents["differences.svg"] = differences
    return write_files(folder, contents)
