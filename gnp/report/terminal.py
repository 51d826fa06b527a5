"""Tables and studies on the terminal: in its width, and where there is none as wide as they are."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnp.jobs import SeriesResult
from gnp.report.grid import Grid
from gnp.screen import width_of, wrapped

R = TypeVar("R", bound=SeriesResult)
FOLDED = 10  # characters: no label is wrapped to fewer
WORD = re.compile(r"[^ /+_-]*[ /+_-]|[^ /+_-]+")  # with what it ends at; a path has several


def grid_table(
    title: str,
    grid: Grid,
    kept: Sequence[int] | None = None,
    widths: Mapping[int, int] = {},
) -> Table:
    """``kept`` are the columns that are shown; all of them by default. Labels that ``widths`` names
    the columns of are wrapped to so many characters."""
    kept = range(len(grid.headers)) if kept is None else kept
    out = Table(title=Text(title), title_justify="left")
    for index in kept:
        out.add_column(
            Text(_broken(grid.headers[index], widths.get(index))),
            justify="left" if index < grid.label_columns else "right",
            no_wrap=True,
        )
    for line in grid.lines:
        if line.first and line is not grid.lines[0]:
            out.add_section()
        # As Text, in which rich looks for no marks of its own: [ours], :x:.
        entries = [Text(e.text, style="bold" if e.best else "") for e in line.entries]
        labels = [Text(_broken(label, widths.get(i))) for i, label in enumerate(line.labels)]
        texts = [*labels, *entries]
        out.add_row(*(texts[index] for index in kept))
    return out


def fitted(
    title: str,
    grid: Grid,
    width: int | None,
    droppable: Sequence[str] = (),
    where: str = "see the files",
) -> list[Table]:
    """A grid in tables of at most ``width`` characters: where it is wider, columns are dropped one
    after another, then labels are wrapped, and then it goes on in a further table.

    Args:
        droppable: headers, the least needed one first.
        where: what the title says of the dropped ones.
    """
    kept, dropped = list(range(len(grid.headers))), []
    for header in (header for header in droppable if header in grid.headers):
        if width is None or natural_width(grid_table(title, grid, kept)) <= width:
            break
        dropped.append(header)
        kept = [i for i in kept if grid.headers[i] != header]
    if dropped:
        title = f"{title}; {', '.join(dropped)}: {where}"
    whole = grid_table(title, grid, kept)
    if width is None or natural_width(whole) <= width:
        return [whole]
    labels = [i for i in kept if i < grid.label_columns]
    blocks = list(_blocks(grid, labels, [i for i in kept if i >= grid.label_columns], width))
    return [
        grid_table(title, grid, [*labels, *block], _narrowed(grid, labels, block, width))
        for block in blocks
    ]


def _blocks(
    grid: Grid, labels: Sequence[int], entries: Sequence[int], width: int
) -> Iterator[list[int]]:
    """The columns of entries in as few tables as hold them beside labels that are wrapped at words;
    what the grid has under one group stays together where it can."""
    block: list[int] = []
    for unit in _units(grid, entries):
        whole = _fits(grid, labels, unit, width)
        for part in [unit] if whole else [[index] for index in unit]:
            if block and not _fits(grid, labels, [*block, *part], width):
                yield block
                block = []
            block = [*block, *part]
    yield block


def _units(grid: Grid, entries: Sequence[int]) -> list[list[int]]:
    units: list[list[int]] = []
    for index in entries:
        group = grid.groups and grid.groups[index]
        if group and units and grid.groups and grid.groups[units[-1][-1]] == group:
            units[-1].append(index)
        else:
            units.append([index])
    return units


def _fits(grid: Grid, labels: Sequence[int], entries: Sequence[int], width: int) -> bool:
    narrowed = _narrowed(grid, labels, entries, width)
    return natural_width(grid_table("", grid, [*labels, *entries], narrowed)) <= width


def _narrowed(
    grid: Grid, labels: Sequence[int], entries: Sequence[int], width: int
) -> dict[int, int]:
    """{label column: its width}, of those that have to be narrower than what is in them for the
    columns to fit: down to their longest word, the widest first, and then further."""
    texts = {i: [grid.headers[i], *(line.labels[i] for line in grid.lines)] for i in labels}
    widths = {i: max(map(cell_len, texts[i])) for i in labels}
    words = {i: max(cell_len(w) for t in texts[i] for w in WORD.findall(t) or [""]) for i in labels}
    excess = natural_width(grid_table("", grid, [*labels, *entries])) - width
    out = {}
    for floors in (words, dict.fromkeys(labels, FOLDED)):
        for index in sorted(labels, key=lambda i: -widths[i]):
            less = min(excess, widths[index] - floors[index])
            if less > 0:
                widths[index] -= less
                excess -= less
                out[index] = widths[index]
    return out


def _broken(text: str, width: int | None) -> str:
    """In lines of at most so many characters, which end where a word does if they can."""
    if width is None:
        return text
    lines = [""]
    for word in WORD.findall(text):
        while cell_len((lines[-1] + word).rstrip()) > width:
            if lines[-1]:
                lines.append("")
            else:
                lines[-1:], word = [word[:width], ""], word[width:]
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def natural_width(table: Table) -> int:
    """Characters that a table takes without wrapping or cutting anything."""
    console = Console(width=10_000)
    return console.measure(table).maximum


def print_tables(tables: Sequence[Table]) -> None:
    for table in tables:
        # As wide as the table: no number is cut.
        Console(width=natural_width(table)).print(table)


def print_prose(console: Console, text: str) -> None:
    console.print(Text(wrapped(text, width_of(console))))


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
    print_tables(tables)
    for line in [*notes, *(f"warning: {warning}" for warning in result.warnings)]:
        print_prose(console, line)
    if missing := result.missing_commands:
        # Not wrapped: a command is to be copied.
        what = "1 run is" if len(missing) == 1 else f"{len(missing)} runs are"
        console.print(Text(f"{what} missing, the first: {missing[0]}"))
    console.print("\nwritten:", *(Text(f"  {path}") for path in write(result)), sep="\n")
