"""The figure of a tuning: every trial's validation error over each value that was tuned."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from gnp.report.figures import STYLE, to_svg
from gnp.settings.study import number
from gnp.settings.tuning import NAMES, TunedMethod
from gnp.tuning.collect import TuningResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL = 22  # characters that a row is high
COLOUR, CHOSEN = "#4C86B5", "#D55E00"


def trials(tuning: TuningResult) -> str:
    """SVG: a row a method, a column a tuned setting; the chosen trial and the finalists stand
    out."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    methods = tuning.spec.methods
    names = [name for name in NAMES if any(name in m.ranges for m in methods)]
    with rc_context(STYLE):
        figure = Figure(
            figsize=(2.3 * len(names) + 0.6, 1.9 * len(methods) + 0.6), layout="constrained"
        )
        axes = figure.subplots(len(methods), len(names), squeeze=False, sharey=True)
        for row, method in zip(axes, methods, strict=True):
            for axis, name in zip(row, names, strict=True):
                if name in method.ranges:
                    _draw(axis, tuning, method, name)
                else:
                    axis.set_visible(False)
            row[0].set_visible(True)
            name = textwrap.fill(method.label, LABEL)
            row[0].set_ylabel(f"{name}\nvalidation error (%)")
        return to_svg(figure)


def _draw(axis: Axes, tuning: TuningResult, method: TunedMethod, name: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    chosen, its = tuning.chosen.get(method.folder), method.ranges[name]  # type: ignore[index]
    for result in tuning.ranked(method.folder):
        assert result.error  # those that are ranked have one
        best = result is chosen
        ring = result.final and not best
        axis.plot(
            dict(result.trial.values)[name],
            result.error.mean,
            marker="*" if best else "o",
            ms=10 if best else 5 if ring else 4,
            color=CHOSEN if best else COLOUR,
            mfc="none" if ring else None,
            mec=CHOSEN if ring else None,
            mew=1.5 if ring else None,
            ls="",
            zorder=3 if best else 2,
        )
    axis.set_xscale("log" if its.log else "linear")
    axis.set_xlim(its.low, its.high)
    if its.log:  # matplotlib's own labels are formulas, which no figure of ours is set with
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_xlabel(name)
    axis.grid(alpha=0.25)
