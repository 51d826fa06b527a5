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

from gnp.report.figures import FURTHER, GNP, MARKS, SAM, STANDARD, STYLE, embedded, to_svg
from gnp.report.page import template
from gnp.settings.overrides import parsed
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
MARKED = 8  # points of a line that have its mark
ALPHA = "optimizer.alpha"


@dataclass(frozen=True)
class Curves:
    """``pictures`` row by row, each row's as many as it has columns; ``legend``: (label, colour,
    whether its line is dashed, its mark's outline or "")."""

    rows: Sequence[Sequence[Markup]]
    legend: Sequence[tuple[str, str, bool, str]]

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
        for label, colour, dashed, mark in self.legend:
            if x > 10 and x + SWATCH + LETTER * len(label) > width:
                x, y = 10.0, y + 20
            entries.append((x, y, label, colour, dashed, mark))
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
    legend: dict[tuple[str, str, bool, str], None] = {}
    with rc_context(STYLE):
        for part in table.spec.parts.values():
            looks = looks_of(part)
            for row in part.rows:
                lines = [_lines(table, row, column, looks) for column in part.columns]
                legend |= dict.fromkeys(line.in_legend for own in lines for line in own)
                highest = max((max(line.high) for own in lines for line in own), default=1.0)
                rows.append([])
                for column, own in zip(part.columns, lines, strict=True):
                    title = f"{row.label}, {column.label}"
                    number = sum(map(len, rows)) + 1
                    rows[-1].append(_picture(title, own, highest, f"curves{number}"))
    return Curves(rows, list(legend))


Look = tuple[str, str]  # colour, and matplotlib's name of a mark or ""


def looks_of(part: Part) -> dict[Method, Look]:
    """The paper's colours, of the first method of each kind: the standard scheme, SAM and GNP.
    Others have further ones, and marks."""
    further = zip(cycle(FURTHER), cycle(MARKS), strict=False)
    looks: dict[str, Look] = {}
    for method in part.methods:
        plain = (_colour_of_kind(method), "")
        looks[method.label] = next(further) if plain in looks.values() else plain
    return {method: looks[method.label] for method in part.methods}


def _colour_of_kind(method: Method) -> str:
    """GNP with α = 1 is SAM, with α = 0 the standard scheme."""
    alphas = [one.value() for one in parsed(method.further) if one.key_or_group == ALPHA]
    of_alpha = {0: STANDARD, 1: SAM}
    if method.optimizer == "gnp" and alphas and alphas[-1] in of_alpha:
        return of_alpha[alphas[-1]]
    return {"sam": SAM, "gnp": GNP}.get(method.optimizer, STANDARD)


@dataclass(frozen=True)
class Line:
    """``low`` and ``high`` of the seeds at each of ``epochs``."""

    label: str
    colour: str
    mark: str
    style: str
    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]

    @property
    def in_legend(self) -> tuple[str, str, bool, str]:
        return self.label, self.colour, self.style == DASHED, MARKS.get(self.mark, "")


def _lines(table: TableResult, row: Row, column: Column, looks: dict[Method, Look]) -> list[Line]:
    results = [(table.cells[table.spec.cell(row, column, m)], look) for m, look in looks.items()]
    return [line for result, look in results for line in lines_of(result, *look)]


def lines_of(result: CellResult, colour: str, mark: str = "") -> Iterator[Line]:
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
            yield Line(title, colour, mark, style, x, means, low, high)


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
        alone = len(line.epochs) == 1  # no line leads there
        axis.plot(
            line.epochs, line.mean, line.style, color=line.colour, lw=1.4,
            marker=line.mark or ("o" if alone else None), ms=3.5,
            markevery=max(1, len(line.epochs) // MARKED),
        )  # fmt: skip
        if alone:
            axis.vlines(line.epochs, line.low, line.high, color=line.colour, lw=1)
        axis.fill_between(line.epochs, line.low, line.high, color=line.colour, alpha=0.15, lw=0)
    return embedded(to_svg(figure), name, f"Learning curves of {title}")
