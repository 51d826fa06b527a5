"""A study as a page that needs nothing else: report.html."""

from pathlib import Path

from gnp.report.figures import embedded
from gnp.report.numbers import format_statistic
from gnp.report.page import Figure, Page, Section, of_grid
from gnp.report.series_page import seeds_table, series_page
from gnp.settings.study import number
from gnp.studies.collect import PointResult, StudyResult
from gnp.studies.text import make_grid, notes

CURVES = (
    "One curve for each α; the standard scheme (α = 0) does not depend on r. Bars, and its band, "
    "are ± one standard deviation. Star: the lowest mean of all, chosen on those very images."
)
SQUARES = (
    "The same means as colours; the lowest is framed. An arrow at the scale: some "
    "are higher than its end."
)


def to_page(study: StudyResult, folder: Path, curves: str, heatmap: str) -> Page:
    """Args:
    folder: where it will lie.
    curves, heatmap: the figures' SVG.
    """
    name = f"{study.evaluated} error over r and α"
    figures = [
        Figure(CURVES, [embedded(curves, "curves", f"Curves of the {name}")]),
        Figure(SQUARES, [embedded(heatmap, "heatmap", f"Heat map of the {name}")]),
    ]
    caption = f"{study.evaluated.capitalize()} error, %: mean ± standard deviation (seeds)"
    rows = [((_r(one), number(one.point.alpha)), one) for one in study.results]
    seeds = seeds_table(f"{study.evaluated.capitalize()} error, %, of each seed", ("r", "α"), rows)
    sections = [
        Section("Errors", [of_grid(make_grid(study), caption)]),
        Section("Figures", figures),
        Section("Each seed", [seeds]),
    ]
    return series_page(study, folder, notes(study), lowest_in_words(study), sections)


def lowest_in_words(study: StudyResult) -> str:
    """The lowest mean, and those of the standard scheme and of SAM beside it."""
    whole = [one for one in study.results if one.error is not None]
    if not whole:
        return "No point has a finished run."
    lines = [f"Lowest mean, chosen on those very images: {_said(min(whole, key=_mean))}."]
    for alpha, name in ((0, "The standard scheme"), (1, "SAM at its best r")):
        if own := [one for one in whole if one.point.alpha == alpha]:
            lines.append(f"{name}: {_said(min(own, key=_mean))}.")
    return "\n".join(lines)


def _mean(result: PointResult) -> float:
    assert result.error is not None  # of whole points alone
    return result.error.mean


def _said(result: PointResult) -> str:
    r = f"r = {_r(result)}, " if result.point.alpha else ""
    return f"{r}α = {number(result.point.alpha)}, {format_statistic(result.error)} %"


def _r(result: PointResult) -> str:
    return number(result.point.r) if result.point.alpha else "any"
