"""The figures of a parameter study: curves over r, one for each α, and a heat map."""

from __future__ import annotations

import math
import statistics
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnp.report.figures import SAM, STANDARD, STYLE, to_png, to_svg
from gnp.report.numbers import MISSING
from gnp.settings.study import number
from gnp.studies.collect import StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

# The two ends have the paper's colours; between them light to dark blue.
BETWEEN = "Blues"
FRAME = "#D55E00"  # of the lowest mean in the heat map: none of its colours
BLACK = "#111111"  # on a light square, also where a page makes black white
SHIFT = 1.025  # neighbouring curves are drawn this factor apart in r: else their bars would overlap
BLANK = "#eeeeee"


@dataclass(frozen=True)
class Picture:
    svg: str
    png: bytes


def curves(study: StudyResult) -> Picture:
    """Error over r, one curve for each α above 0; α = 0 is a horizontal line. Bars and its band
    are ± one standard deviation; a star is the lowest mean."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    spec = study.spec
    above = [alpha for alpha in spec.alpha if alpha > 0]
    with rc_context(STYLE):
        figure = Figure(figsize=(7.8, 4.2), layout="constrained")
        axis = figure.add_subplot()
        standard = study.at(spec.r[0], 0) if 0 in spec.alpha else None
        if standard and (error := standard.error):
            axis.axhline(error.mean, color=STANDARD, ls="--", lw=1.4, label=label(0))
            low, high = error.mean - (error.std or 0), error.mean + (error.std or 0)
            axis.axhspan(low, high, color=STANDARD, alpha=0.13, lw=0)
            if study.is_best(standard):
                _star(axis, spec.r[0], error.mean, color=STANDARD)
        for i, alpha in enumerate(above):
            shift = SHIFT ** (i - (len(above) - 1) / 2)
            _curve(axis, study, alpha, shift)
        axis.set_xscale("log")
        axis.set_xlim(spec.r[0] / 1.3, spec.r[-1] * 1.3)
        axis.set_xticks(spec.r, [number(r) for r in spec.r])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("r")
        _error_scale(axis, study)
        axis.grid(alpha=0.25)
        handles, labels = axis.get_legend_handles_labels()
        if handles:
            handles += axis.plot([], [], "*", ms=11, color="#777777")
            names = [*labels, "lowest mean of all"]
            axis.legend(handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
        _head(figure, study)
        return _picture(figure)


def heatmap(study: StudyResult) -> Picture:
    """Mean error at each r and α as colour and number, the best framed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    spec = study.spec
    rows, columns = len(spec.alpha), len(spec.r)
    with rc_context(STYLE):
        figure = Figure(
            figsize=(max(5.0, 2.2 + 1.05 * columns), 1.8 + 0.62 * rows), layout="constrained"
        )
        axis = figure.add_subplot()
        norm, clipped = colour_range([p.error.mean for p in study.points.values() if p.error])
        axis.set_facecolor(BLANK)  # what is missing
        means = [[_mean(study, r, alpha) for r in spec.r] for alpha in spec.alpha]
        image = axis.imshow(means, cmap="viridis_r", norm=norm, origin="lower", aspect="auto")
        for i, alpha in enumerate(spec.alpha):
            for j, r in enumerate(spec.r):
                _cell(axis, j, i, study, r, alpha, image)
        axis.set_xticks(range(columns), [number(r) for r in spec.r])
        names = {0: "0\nstandard", 1: "1\nSAM"}
        axis.set_yticks(range(rows), [names.get(a, number(a)) for a in spec.alpha])
        axis.set_xlabel("r")
        axis.set_ylabel("α", rotation=0, labelpad=12, va="center")
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        bar = figure.colorbar(image, extend="max" if clipped else "neither")
        bar.set_label(f"{study.evaluated} error (%)")
        bar.outline.set_visible(False)
        _head(figure, study)
        return _picture(figure)


def colour(alpha: float) -> str | tuple[float, ...]:
    """0 and 1 have their own; an α between them has a blue, the darker the larger."""
    from matplotlib import colormaps

    ends = {0: STANDARD, 1: SAM}
    return ends.get(alpha) or colormaps[BETWEEN](0.3 + 0.6 * alpha)


def label(alpha: float) -> str:
    names = {0: " (standard scheme)", 1: " (SAM)"}
    return f"α = {number(alpha)}{names.get(alpha, '')}"


def colour_range(means: list[float]) -> tuple[Normalize, bool]:
    """From the lowest mean to the highest, and whether means lie above it: one far above the rest
    (a run that did not learn) would leave them all one colour, so the range ends at three times
    the median's distance from the lowest."""
    from matplotlib.colors import Normalize

    if not means:
        return Normalize(0, 1), False
    low, high = min(means), max(means)
    end = low + 3 * (statistics.median(means) - low)
    if low < end < high:
        return Normalize(low, end), True
    return Normalize(low, high if high > low else low + 1), False


def _curve(axis: Axes, study: StudyResult, alpha: float, shift: float) -> None:
    errors = {r: study.at(r, alpha).error for r in study.spec.r}
    if not any(errors.values()):
        return
    mean = [_mean(study, r, alpha) for r in errors]
    std = [error.std or 0 if error else 0 for error in errors.values()]
    x = [r * shift for r in errors]
    own = {"color": colour(alpha), "zorder": 4 if alpha == 1 else 3}
    axis.errorbar(
        x, mean, std, fmt="o-", ms=4, lw=1.5, elinewidth=1, capsize=2.5, label=label(alpha), **own
    )
    for r, place, value in zip(errors, x, mean, strict=True):
        if study.is_best(study.at(r, alpha)):
            _star(axis, place, value, color=colour(alpha))


def _star(axis: Axes, x: float, y: float, color: str | tuple[float, ...]) -> None:
    axis.plot(x, y, "*", ms=13, mec="white", mew=0.8, color=color, zorder=5)


def _cell(axis: Axes, x: int, y: int, study: StudyResult, r: float, alpha: float, image) -> None:
    from matplotlib.patches import Rectangle

    result = study.at(r, alpha)
    if result.error is None:
        axis.text(x, y, MISSING, ha="center", va="center", color="#888888")
        return
    red, green, blue, _ = image.to_rgba(result.error.mean)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.42  # perceived lightness (ITU-R BT.601)
    spread = "" if result.error.std is None else f"\n± {result.error.std:.2f}"
    axis.text(
        x, y, f"{result.error.mean:.2f}{spread}", ha="center", va="center", linespacing=1.15,
        color="white" if dark else BLACK,
    )  # fmt: skip
    if study.is_best(result):
        axis.add_patch(
            Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, fill=False, ec=FRAME, lw=2.2, zorder=3)
        )


def _error_scale(axis: Axes, study: StudyResult) -> None:
    """Curves leave the picture where the heat map's colours end, if the worst mean is more than
    twice the best one: else nothing could be told from the others."""
    errors = [p.error for p in study.points.values() if p.error]
    norm, clipped = colour_range([error.mean for error in errors])
    name = f"{study.evaluated} error (%)"
    if clipped and max(error.mean for error in errors) > 2 * norm.vmin:
        low = min(e.mean - (e.std or 0) for e in errors if e.mean <= norm.vmax)
        margin = 0.05 * (norm.vmax - low)
        axis.set_ylim(low - margin, norm.vmax + margin)
        name += "; higher ones: see the heat map"
    axis.set_ylabel(name)


def _mean(study: StudyResult, r: float, alpha: float) -> float:
    error = study.at(r, alpha).error
    return error.mean if error else math.nan


def _head(figure: Figure, study: StudyResult) -> None:
    seeds = len(study.spec.seeds)
    counts = {result.error.n if result.error else 0 for result in study.points.values()}
    spread = ", mean ± sample standard deviation of" if seeds > 1 else " of"
    lines = [study.spec.title, f"last epoch's error{spread} {seeds} seed{'s' * (seeds > 1)}"]
    if counts != {seeds}:
        lines.append("without runs that are missing or diverged")
    width = round(14 * figure.get_figwidth())  # characters
    lines = [textwrap.fill(line, width) for line in lines]
    figure.suptitle("\n".join(lines), fontsize=9)


def _picture(figure: Figure) -> Picture:
    return Picture(to_svg(figure), to_png(figure))
