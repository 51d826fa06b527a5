"""Learning curves of a table as SVG text, to stand in a page or in a file."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from gnp.report.figures import STYLE, to_svg
from gnp.tables.cell_result import CellResult
from gnp.tables.collect import TableResult
from gnp.tables.spec import Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def learning_curves(table: TableResult) -> str:
    """Error on the evaluated images (solid) and in training (dashed) by epoch, a panel a model and
    column.

    Lines are means over seeds, bands reach from the lowest to the highest seed.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    spec = table.spec
    panels = [(part, row) for part in spec.parts.values() for row in part.rows]
    rows, columns = len(panels), max(len(part.columns) for part in spec.parts.values())
    with rc_context(STYLE):
        figure = Figure(figsize=(4.6 * columns, 3.2 * rows))
        axes = figure.subplots(rows, columns, squeeze=False, sharey="row")
        entries = {}  # by label: a method may be missing in one panel and drawn in another
        for i, (part, row) in enumerate(panels):
            for axis in axes[i][len(part.columns) :]:
                axis.set_axis_off()
            for j, column in enumerate(part.columns):
                axis = axes[i][j]
                axis.set_title(f"{row.label}, {column.label}", fontsize=9)
                axis.set_xlabel("epoch")
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
                axis.grid(alpha=0.3)
                for k, method in enumerate(part.methods):
                    result = table.cells[Cell(row, column, method, spec.fidelity)]
                    entries |= _draw(axis, result, COLOURS[k % len(COLOURS)])
            axes[i][0].set_ylabel("error (%)")
        if entries:
            # Set afterwards, for matplotlib leaves out those that begin with an underscore.
            numbers = [str(i) for i in range(len(entries))]
            legend = figure.legend(
                entries.values(), numbers, loc="outside lower center", ncols=len(entries)
            )
            for text, label in zip(legend.get_texts(), entries, strict=True):
                text.set_text(label)
        figure.set_layout_engine("constrained")
        svg = to_svg(figure)
    return svg[svg.index("<svg") :]


def _draw(axis: Axes, result: CellResult, colour: str) -> dict[str, Line2D]:
    """The lines by their labels."""
    lines: dict[str, Line2D] = {}
    if not result.finished:
        return lines
    epochs = min(len(f.metrics) for f in result.finished)
    label, f = result.cell.method.label, result.finished[0]
    for name, style, title in (
        (f.error_name, "-", f"{label} {f.summary['evaluated']}"),
        ("train_error", "--", f"{label} training"),
    ):
        # An epoch may have gone without evaluation.
        seen = [e for e in range(epochs) if all(name in f.metrics[e] for f in result.finished)]
        values = [[run.metrics[e][name] for run in result.finished] for e in seen]
        x = [e + 1 for e in seen]
        means = [statistics.fmean(v) for v in values]
        (lines[title],) = axis.plot(x, means, style, color=colour, lw=1.4)
        low, high = [min(v) for v in values], [max(v) for v in values]
        axis.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    return lines
