"""The Markdown page of a table or a study."""

from collections.abc import Mapping, Sequence

from gnp.jobs import SeriesResult
from gnp.report.grid import Grid


def page(
    result: SeriesResult,
    grids: Sequence[Grid],
    notes: Sequence[str],
    figures: Mapping[str, str] = {},
) -> str:
    """Title, grids, notes, warnings, the commands of the missing runs, and what made it.

    Args:
        notes: what must be read with the numbers.
        figures: caption → file beside the page.
    """
    out = [f"# {result.spec.title}"]
    for grid in grids:
        out += ["", *_lines(grid)]
    for note in notes:
        out += ["", note]
    for warning in result.warnings:
        out += ["", f"**Warning:** {warning}"]
    if commands := result.missing_commands:
        out += ["", f"Missing runs ({len(commands)}); each command makes one:", "", "```"]
        out += [*commands, "```"]
    for caption, file in figures.items():
        out += ["", f"![{caption}]({file})"]
    out += ["", f"Made by `{result.command}` from the records in `{result.root}/runs`.", ""]
    return "\n".join(out)


def _lines(grid: Grid) -> list[str]:
    numbers = len(grid.headers) - grid.label_columns
    out = [_line(grid.headers), "|" + "---|" * grid.label_columns + "---:|" * numbers]
    for line in grid.lines:
        entries = [f"**{e.text}**" if e.best else e.text for e in line.entries]
        out.append(_line([*line.labels, *entries]))
    return out


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"
