"""A study as text: Markdown, CSV and for the terminal."""

from rich.table import Table

from gnp.report.files import csv_text
from gnp.report.grid import Entry, Grid, Line, starred
from gnp.report.markdown import page
from gnp.report.numbers import format_statistic, unrounded_statistic
from gnp.report.terminal import fitted
from gnp.settings.study import number
from gnp.studies.collect import PointResult, StudyResult

CSV_COLUMNS = ("r", "alpha", "n", "mean_error", "std_error", "errors", "best")
ALPHA_NAMES = {0: "0 (standard scheme)", 1: "1 (SAM)"}


def notes(study: StudyResult) -> list[str]:
    """What must be read with the numbers."""
    spec = study.spec
    lines = [
        spec.note,
        f"{study.evaluated.capitalize()} error in % of the last epoch's weights: mean ± sample "
        f"standard deviation (number of seeds), seeds {', '.join(map(str, spec.seeds))}. ★: the "
        f"lowest mean, which was chosen on those very images; not that it differs from others.",
        "Every point has the learning rate and the decay of the experiment's GNP recipe, α = 0 and "
        "α = 1 too, so that only r and α differ; a table's SGD and SAM have rates of their own.",
    ]
    if 0 in spec.alpha:
        lines.append("α = 0 does not depend on r: its runs are made once and stand for every r.")
    return lines


def make_grid(study: StudyResult) -> Grid:
    """α down, r across."""
    spec = study.spec
    lines = []
    for alpha in spec.alpha:
        results = [study.at(r, alpha) for r in spec.r]
        entries = [
            Entry(starred(format_statistic(result.error, len(spec.seeds)), study.is_best(result)))
            for result in results
        ]
        lines.append(Line([ALPHA_NAMES.get(alpha, number(alpha))], entries))
    return Grid(["α", *(f"r = {number(r)}" for r in spec.r)], lines, label_columns=1)


def to_markdown(study: StudyResult) -> str:
    figures = {"curves": "curves.svg", "heat map": "heatmap.svg"}
    return page(study, [make_grid(study)], notes(study), figures)


def to_terminal(study: StudyResult, width: int | None = None) -> list[Table]:
    return fitted(study.spec.title, make_grid(study), width)


def to_csv(study: StudyResult) -> str:
    """One line a point, all numbers unrounded, for other programs. α = 0 has no r; ``errors`` are
    of the seeds that are there, ``best`` is 1 or 0."""
    return csv_text(CSV_COLUMNS, (_csv_line(study, result) for result in study.results))


def _csv_line(study: StudyResult, result: PointResult) -> list:
    point, error = result.point, result.error
    return [
        number(point.r) if point.alpha else "",
        number(point.alpha),
        error.n if error else 0,
        *unrounded_statistic(error),
        " ".join(f"{e:g}" for e in result.errors),
        int(study.is_best(result)),
    ]
