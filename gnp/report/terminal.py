"""Tables and studies on the terminal."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnp.jobs import SeriesResult
from gnp.report.grid import Grid

R = TypeVar("R", bound=SeriesResult)


def grid_table(title: str, grid: Grid, kept: Sequence[int] | None = None) -> Table:
    """``kept`` are the columns that are shown; all of them by default."""
    kept = range(len(grid.headers)) if kept is None else kept
    out = Table(title=Text(title), title_justify="left")
    for index in kept:
        justify = "left" if index < grid.label_columns else "right"
        out.add_column(Text(grid.headers[index]), justify=justify, no_wrap=True)
    for line in grid.lines:
        if line.first and line is not grid.lines[0]:
            out.add_section()
        # As Text, in which rich looks for no marks of its own: [ours], :x:.
        entries = [Text(e.text, style="bold" if e.best else "") for e in line.entries]
        texts = [*map(Text, line.labels), *entries]
        out.add_row(*(texts[index] for index in kept))
    return out


def natural_width(table: Table) -> int:
    """Characters that a table takes without wrapping or cutting anything."""
    console = Console(width=10_000)
    return console.measure(table).maximum


def show(
    console: Console,
    result: R,
    tables: Sequence[Table],
    notes: Sequence[str],
    write: Callable[[R], Sequence[Path]],
) -> None:
    """Print a table's or a study's grids and all that must be read with them, then write its files
    and print their paths.

    Raises:
        StorageError: the files could not be written; what is shown is complete.
    """
    console.print()
    for table in tables:
        # As wide as the table: a line too long for the terminal wraps, but no number is cut.
        Console(width=natural_width(table)).print(table)
    for line in [*notes, *(f"warning: {warning}" for warning in result.warnings)]:
        console.print(Text(line))
    if missing := result.missing_commands:
        console.print(Text(f"{len(missing)} runs are missing, the first: {missing[0]}"))
    console.print("\nwritten:", *(Text(f"  {path}") for path in write(result)), sep="\n")
