"""From a study's records to its files and the terminal. Trains nothing."""

from pathlib import Path

from rich.console import Console

from gnp.jobs import Wanted, read_runs_ahead
from gnp.report.figures import import_matplotlib
from gnp.report.files import write_files
from gnp.report.page import to_html
from gnp.report.terminal import show
from gnp.screen import width_of
from gnp.settings import unrecorded
from gnp.studies.collect import StudyResult, collect
from gnp.studies.grid import StudySpec
from gnp.studies.html import to_page
from gnp.studies.plots import curves, heatmap
from gnp.studies.text import notes, to_csv, to_markdown, to_terminal


def render(spec: StudySpec, root: str, command: str, wanted: Wanted) -> list[str]:
    """Read the records, print the grid, write the outputs, print their paths. Returns warnings
    about records that are left out.

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
        StorageError: the outputs could not be written; all is shown.
    """
    console = Console(soft_wrap=True, highlight=False)
    read_runs_ahead(spec.runs(), root, wanted, import_matplotlib)
    study = collect(spec, root, command, wanted, unrecorded())
    show(console, study, to_terminal(study, width_of(console)), notes(study), write_outputs)
    return study.warnings


def write_outputs(study: StudyResult) -> list[Path]:
    """Write every output below ``<root>/studies/<name>``, whole or not at all. Returns the
    paths."""
    folder = study.root / "studies" / study.spec.name
    lines, squares = curves(study), heatmap(study)
    return write_files(
        folder,
        {
            "study.md": to_markdown(study),
            "study.csv": to_csv(study),
            "curves.svg": lines.svg,
            "curves.png": lines.png,
            "heatmap.svg": squares.svg,
            "heatmap.png": squares.png,
            "report.html": to_html(to_page(study, folder, lines.svg, squares.svg)),
        },
    )
