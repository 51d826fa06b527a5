"""Learning curves of a table: a picture a model and column, side by side in a page or in one file.

In both they are drawn at the size at which their labels can be read.
"""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from markupsafe import Markup

from gnp.report.figures import FURTHER, GNP, SAM, STANDARD, STYLE, embedded, to_svg
from gnp.report.page import template
from gnp.settings.table import Column, Method, Row
from gnp.tables.cell_result import CellResult
from gnp.tables.collect import TableResult
from gnp.tables.spec import Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 3.5, 2.8  # inches of a picture: a phone's width
LETTER, SWATCH = 7, 40  # px that a letter of the legend takes, and a line with its margins
TITLE = 46  # characters of a line above a picture
SOLID, DASHED = "-", "--"


@dataclass(frozen=True)
class Curves:
    """``pictures`` row by row, each row's as many as it has columns; ``legend``: (label, colour,
    whether its line is dashed)."""

    rows: Sequence[Sequence[Markup]]
    legend: Sequence[tuple[str, str, bool]]

    @property
    def pictures(self) -> list[Markup]:
        return [picture for row in self.rows for picture in row]

    def to_legend(self) -> Markup:
        return template("legend.html", entries=self.legend)

    def to_svg(self) -> str:
        """All of them in one file."""
        size = 96 * WIDTH, 96 * HEIGHT
        width = size[0] * max(map(len, self.rows))
        x, y, entries = 10.0, size[1] * len(self.rows), []
        for label, colour, dashed in self.legend:
            if x > 10 and x + SWATCH + LETTER * len(label) > width:
                x, y = 10.0, y + 20
            entries.append((x, y, label, colour, dashed))
            x += SWATCH + LETTER * len(label)
        placed = [(j * size[0], i * size[1], picture)
                  for i, row in enumerate(self.rows) for j, picture in enumerate(row)]  # fmt: skip
        return str(template(
            "curves.svg", width=width, height=y + 30, size=size, pictures=placed, entries=entries
        ))  # fmt: skip


def learning_curves(table: TableResult) -> Curves:
    """Error on the evaluated images (solid) and in training (dashed) by epoch, a picture a model
    and column; a model's have the same scale.

    Lines are means over seeds, bands reach from the lowest to the highest seed.
    """
    from matplotlib import rc_context

    rows: list[list[Markup]] = []
    legend: dict[tuple[str, str, bool], None] = {}
    with rc_context(STYLE):
        for part in table.spec.parts.values():
            colours = colours_of(part)
            for row in part.rows:
                lines = [_lines(table, row, column, colours) for column in part.columns]
                legend |= dict.fromkeys(
                    (line.label, line.colour, line.style == DASHED) for own in lines for line in own
                )
                highest = max((max(line.high) for own in lines for line in own), default=1.0)
                rows.append([])
                for column, own in zip(part.columns, lines, strict=True):
                    title = f"{row.label}, {column.label}"
                    number = sum(map(len, rows)) + 1
                    rows[-1].append(_picture(title, own, highest, f"curves{number}"))
    return Curves(rows, list(legend))


def colours_of(part: Part) -> dict[Method, str]:
    """The paper's, of the first method of each kind: the standard scheme, SAM and GNP. Those with
    settings of their own have further ones."""
    kinds, further = {"sam": SAM, "gnp": GNP}, cycle(FURTHER)
    colours: dict[str, str] = {}
    for method in part.methods:
        colour = kinds.get(method.optimizer, STANDARD)
        colours[method.label] = next(further) if colour in colours.values() else colour
    return {method: colours[method.label] for method in part.methods}


@dataclass(frozen=True)
class Line:
    """``low`` and ``high`` of the seeds at each of ``epochs``."""

    label: str
    colour: str
    style: str
    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


def _lines(table: TableResult, row: Row, column: Column, colours: dict[Method, str]) -> list[Line]:
    results = [(table.cells[table.spec.cell(row, column, m)], c) for m, c in colours.items()]
    return [line for result, colour in results for line in lines_of(result, colour)]


def lines_of(result: CellResult, colour: str) -> Iterator[Line]:
    """Of a cell: its error on the evaluated images and that of training, over its seeds."""
    if not result.finished:
        return
    epochs = min(len(f.metrics) for f in result.finished)
    label, f = result.cell.method.label, result.finished[0]
    for name, style, title in (
        (f.error_name, SOLID, f"{label} {f.summary['evaluated']}"),
        ("train_error", DASHED, f"{label} training"),
    ):
        # An epoch may have gone without evaluation.
        seen = [e for e in range(epochs) if all(name in f.metrics[e] for f in result.finished)]
        values = [[run.metrics[e][name] for run in result.finished] for e in seen]
        if values:
            means = [statistics.fmean(v) for v in values]
            x, low, high = [e + 1 for e in seen], [*map(min, values)], [*map(max, values)]
            yield Line(title, colour, style, x, means, low, high)


def _picture(title: str, lines: Sequence[Line], highest: float, name: str) -> Markup:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axis: Axes = figure.add_subplot()
    # By ourselves: matplotlib's wrapping takes what is between dollar signs for mathematics.
    axis.set_title(textwrap.fill(title, TITLE, break_on_hyphens=False), fontsize=9)
    axis.set_xlabel("epoch")
    axis.set_ylabel("error (%)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylim(0, 1.05 * highest)
    axis.grid(alpha=0.3)
    for line in lines:
        axis.plot(line.epochs, line.mean, line.style, color=line.colour, lw=1.4)
        axis.fill_between(line.epochs, line.low, line.high, color=line.colour, alpha=0.15, lw=0)
    return embedded(to_svg(figure), name, f"Learning curves of {title}")
