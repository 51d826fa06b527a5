"""From a tuning's records to its files and the terminal. Trains nothing."""

from pathlib import Path

from rich.console import Console

from gnp.jobs import Wanted, read_runs_ahead
from gnp.report.figures import import_matplotlib
from gnp.report.files import write_files
from gnp.report.page import to_html
from gnp.report.terminal import show
from gnp.screen import width_of
from gnp.settings import unrecorded
from gnp.tuning.collect import TuningResult, collect
from gnp.tuning.html import to_page
from gnp.tuning.plots import trials
from gnp.tuning.recipe import experiment_name, to_experiment, to_table
from gnp.tuning.text import notes, to_csv, to_markdown, to_terminal
from gnp.tuning.trials import TuningSpec

CONFIGS = "configs"  # below the tuning's folder: what --config-dir is given


def render(spec: TuningSpec, root: str, command: str, wanted: Wanted) -> list[str]:
    """Read the records, print all trials, write the outputs, print their paths and how the
    chosen settings are used. Returns warnings about records that are left out.

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
        StorageError: the outputs could not be written; all is shown.
    """
    console = Console(soft_wrap=True, highlight=False)
    read_runs_ahead(spec.runs(), root, wanted, import_matplotlib)
    tuning = collect(spec, root, command, wanted, unrecorded())
    show(console, tuning, to_terminal(tuning, width_of(console)), notes(tuning), write_outputs)
    if tuning.chosen:
        name, place = experiment_name(tuning), folder_of(tuning) / CONFIGS
        console.print(
            f"\nA table of them on test images:\n  python scripts/reproduce_table.py --config-dir "
            f"{place} table={name} root={root}\nOther runs with them: --config-dir {place} "
            f"experiment={name}\nTo keep them, copy {place} to configs.",
            markup=False,
        )
    return tuning.warnings


def folder_of(tuning: TuningResult) -> Path:
    return tuning.root / "tunings" / tuning.spec.name


def write_outputs(tuning: TuningResult) -> list[Path]:
    """Write every output below ``<root>/tunings/<name>``, whole or not at all. Returns the
    paths."""
    figure = trials(tuning)
    contents = {
        "tuning.md": to_markdown(tuning),
        "tuning.csv": to_csv(tuning),
        "trials.svg": figure,
        "report.html": to_html(to_page(tuning, folder_of(tuning), figure)),
    }
    if tuning.chosen:
        name = f"{experiment_name(tuning)}.yaml"
        contents[f"{CONFIGS}/experiment/{name}"] = to_experiment(tuning)
        contents[f"{CONFIGS}/table/{name}"] = to_table(tuning)
    return write_files(folder_of(tuning), contents)
