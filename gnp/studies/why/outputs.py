"""From records and measurements to a study's files and the terminal. Trains nothing."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gnp.jobs import Wanted, read_runs_ahead
from gnp.report.figures import embedded, import_matplotlib
from gnp.report.files import csv_text, write_files
from gnp.report.grid import Grid
from gnp.report.markdown import page
from gnp.report.page import Figure, of_grid, to_html
from gnp.report.terminal import fitted, show
from gnp.screen import width_of
from gnp.settings import unrecorded
from gnp.studies.why import geometry, landscape, step_length
from gnp.studies.why.html import to_page
from gnp.studies.why.result import Measurer, WhyResult, collect
from gnp.studies.why.spec import WhySpec

SHOWS = {"step_length": step_length, "geometry": geometry, "landscape": landscape}


def render(
    measurer: Callable[[Wanted], Measurer] | None,
    spec: WhySpec,
    root: str,
    command: str,
    wanted: Wanted,
) -> list[str]:
    """Measure what has not been, print the grids, write the outputs, print their paths. Returns
    warnings about what is left out.

    Args:
        measurer: makes what measures; None shows what has been measured.

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
        StudyError: what is stored cannot be read.
        StorageError: the outputs could not be written; all is shown.
    """
    console = Console(soft_wrap=True, highlight=False)
    read_runs_ahead(spec.runs(), root, wanted, import_matplotlib)
    result = collect(
        spec,
        root,
        command,
        wanted,
        unrecorded(),
        None if measurer is None else lambda: measurer(wanted),
        lambda line: console.print(f"measuring: {line}", markup=False),
    )
    show(console, result, _tables(result, width_of(console)), notes(result), write_outputs)
    return result.warnings


def grids(result: WhyResult) -> list[Grid]:
    return SHOWS[result.spec.measure].grids(result)


def notes(result: WhyResult) -> list[str]:
    """What must be read with the numbers."""
    lines = [result.spec.note, *SHOWS[result.spec.measure].notes(result)]
    if left := len(result.unmeasured):
        lines.append(
            f"Not measured: {left} of {len(list(result.spec.measurements()))}; the command without "
            f"render_only=true measures them."
        )
    return lines


def write_outputs(result: WhyResult) -> list[Path]:
    """Write every output below ``<root>/studies/<name>``, whole or not at all. Returns the
    paths."""
    shows = SHOWS[result.spec.measure]
    columns, lines = shows.table(result)
    said, numbers = notes(result), grids(result)
    svg, drawn = shows.figure(result), shows.drawn(result)
    tables = [of_grid(*pair) for pair in zip(numbers, shows.TABLES, strict=True)]
    picture = Figure(drawn, [embedded(svg, "figure", f"Figure: {shows.CAPTION}")])
    report = to_page(result, tables, said, shows.finding(result), picture)
    return write_files(
        result.folder,
        {
            "study.md": page(
                result, numbers, [*said, f"Figure: {drawn}"], {shows.CAPTION: "figure.svg"}
            ),
            "study.csv": csv_text(columns, lines),
            "figure.svg": svg,
            "report.html": to_html(report),
        },
    )


def _tables(result: WhyResult, width: int | None) -> list[Table]:
    return [t for grid in grids(result) for t in fitted(result.spec.title, grid, width)]
