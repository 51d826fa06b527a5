"""The Markdown page of a table or a study."""

import re
from collections.abc import Mapping, Sequence

from gnp.jobs import SeriesResult
from gnp.report.grid import Grid

# What Markdown reads as marks (GitHub's, with its formulas); underscores inside of words are none.
ACTIVE = re.compile(r"[\\`*\[\]<>|~$&]|(?<!\w)_|_(?!\w)")
BEGINNING = re.compile(r"^(\d*)([-+#=.)])(?=$|[\s#=-])")


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
    out = [f"# {escape(result.spec.title)}"]
    for grid in grids:
        out += ["", *_lines(grid)]
    for note in notes:
        out += ["", paragraph(note)]
    for warning in result.warnings:
        out += ["", f"**Warning:** {paragraph(warning)}"]
    if commands := result.missing_commands:
        out += ["", f"Missing runs ({len(commands)}); each command makes one:", ""]
        fence = _fence("\n".join(commands), 3)
        out += [fence, *commands, fence]
    for caption, file in figures.items():
        out += ["", f"![{caption}]({file})"]
    made, place = code(result.command), code(f"{result.root}/runs")
    out += ["", f"Made by {made} from the records in {place}.", ""]
    return "\n".join(out)


def escape(text: str) -> str:
    """One line of text, so that it is shown as it is: in a table, a heading or a paragraph."""
    return ACTIVE.sub(r"\\\g<0>", text)


def paragraph(text: str) -> str:
    """Its lines stay lines, and none begins a list, a heading or a quotation."""
    lines = [escape(line.strip()) for line in text.strip().splitlines()]
    lines = [BEGINNING.sub(r"\1\\\2", line) for line in lines]
    out = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        out += line + ("\\\n" if line and following else "\n")
    return out.rstrip("\n")


def code(text: str) -> str:
    """A text between as many backticks as it takes."""
    fence = _fence(text, 1)
    space = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{fence}{space}{text}{space}{fence}"


def _fence(text: str, least: int) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


def _lines(grid: Grid) -> list[str]:
    numbers = len(grid.headers) - grid.label_columns
    out = [
        _line([*map(escape, grid.headers)]),
        "|" + "---|" * grid.label_columns + "---:|" * numbers,
    ]
    for line in grid.lines:
        entries = [f"**{escape(e.text)}**" if e.best else escape(e.text) for e in line.entries]
        out.append(_line([*map(escape, line.labels), *entries]))
    return out


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"
