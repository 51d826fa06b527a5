"""Logarithmic axes whose numbers are plain text, as everything in our figures is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def logarithmic(axis: Axes, x: bool = False, y: bool = False) -> None:
    """ "0.001", "1e-06": powers of ten, and numbers between them where there are few powers."""
    from matplotlib.ticker import FuncFormatter, LogFormatter

    class Plain(LogFormatter):
        """Labels what a ``LogFormatter`` would."""

        def __call__(self, value: float, place: Any = None) -> str:
            return f"{value:g}" if super().__call__(value, place) else ""

    for wanted, scale, its in (
        (x, axis.set_xscale, axis.xaxis),
        (y, axis.set_yscale, axis.yaxis),
    ):
        if wanted:
            scale("log")
            its.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            its.set_minor_formatter(Plain(labelOnlyBase=False, minor_thresholds=(1, 0.4)))
