"""A tuning as a page that needs nothing else: report.html."""

from pathlib import Path

from gnp.report.figures import embedded
from gnp.report.numbers import format_statistic
from gnp.report.page import Figure, Page, Section, of_grid
from gnp.report.series_page import series_page
from gnp.settings.study import number
from gnp.tuning.collect import TuningResult
from gnp.tuning.text import chosen_of, make_grids, notes

RING = " Ring: another finalist; its error is a mean over more seeds."
CAPTION = (
    "Each finished trial's validation error over each of its values; its other values differ, too. "
    "Star: the trial that is chosen."
)


def to_page(tuning: TuningResult, folder: Path, trials: str) -> Page:
    """Args:
    folder: where it will lie.
    trials: the figure's SVG.
    """
    caption = CAPTION + (RING if tuning.spec.finalists else "")
    picture = embedded(trials, "trials", "Validation error of every trial")
    methods = zip(tuning.spec.methods, make_grids(tuning), strict=True)
    order = "the finalists first, each by its mean" if tuning.spec.finalists else "the best first"
    tables = [
        of_grid(grid, f"{method.label}: validation error in %, {order}") for method, grid in methods
    ]
    sections = [Section("Trials", tables), Section("Figure", [Figure(caption, [picture])])]
    return series_page(tuning, folder, notes(tuning), chosen_in_words(tuning), sections)


def chosen_in_words(tuning: TuningResult) -> str:
    """A line a method: the settings that are chosen, and of how many trials."""
    lines = []
    for method in tuning.spec.methods:
        result = tuning.chosen.get(method.folder)
        if result is None:
            lines.append(f"{method.label}: no trial is finished.")
            continue
        values = ", ".join(f"{name} = {number(value)}" for name, value in result.trial.values)
        lines.append(
            f"{method.label}: {chosen_of(tuning, method.folder)}: {values}; validation error "
            f"{format_statistic(result.error)} %."
        )
    return "\n".join(lines)
