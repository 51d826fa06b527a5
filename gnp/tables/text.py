"""A table as text: Markdown, CSV, LaTeX and for the terminal.

All of them are made from one grid of strings, so that they cannot say different things.
"""

from collections.abc import Iterator

from rich.table import Table

from gnp.report.files import csv_text
from gnp.report.grid import Entry, Grid, Line
from gnp.report.latex import comment, tabular
from gnp.report.markdown import page
from gnp.report.numbers import (
    MISSING,
    format_interval,
    format_statistic,
    unrounded,
    unrounded_statistic,
)
from gnp.report.terminal import fitted
from gnp.settings.table import Column
from gnp.tables.cell_result import CellResult
from gnp.tables.collect import TableResult
from gnp.tables.comparison_text import (
    CALIBRATION,
    COUNT,
    GAP,
    LOWER,
    NEEDED,
    NEW_IMAGES,
    NLL,
    P,
    comparison_notes,
    comparisons_grid,
    verdict_in_words,
)
from gnp.tables.published import Published, whose
from gnp.tables.spec import Part, TableSpec

BEST_EPOCH, ALSO = "best epoch†", "third party"
LEFT_TO_FILES = (BEST_EPOCH, ALSO, CALIBRATION, NLL, P, NEW_IMAGES, LOWER, NEEDED, GAP, COUNT)
CSV_COLUMNS = (
    "model",
    "column",
    "method",
    "dataset",
    "augmentation",
    "n",
    "mean_error",
    "std_error",
    "best_epoch_mean",
    "best_epoch_std",
    "mean_fit_error",
    "published",
    "published_std",
    "difference",
    "difference_low",
    "difference_high",
    "agreement",
    "nll",
    "nll_std",
    "calibration_error",
    "calibration_error_std",
    "errors",
)


def format_published(value: Published | None) -> str:
    if value is None:
        return MISSING
    return f"{value.error:.2f}" + ("" if value.std is None else f" ± {value.std:.2f}")


def format_difference(result: CellResult) -> str:
    """ "+0.26 [-0.31, +0.83] compatible", without what there is no statement of."""
    if result.difference is None:
        return MISSING
    text = f"{result.difference:+.2f}"
    if (agreement := result.agreement) is None:
        return text
    return f"{text} {format_interval(agreement.interval)} {agreement.statement}"


def make_grids(table: TableResult) -> list[Grid]:
    """A grid for each part, models × methods down, columns across; for each column our error, the
    published value and the difference where the part has published values, NLL and calibration
    error where there are any, and the best epoch's error. At last, one of the comparisons."""
    comparisons = comparisons_grid(table)
    return [
        *(part_grid(table, part) for part in table.spec.parts.values()),
        *([] if comparisons is None else [comparisons]),
    ]


def part_grid(table: TableResult, part: Part) -> Grid:
    spec = table.spec
    headers = ["model", "method"]
    groups = ["", ""]
    results = [table.cells[cell] for cell in spec.cells_of(part)]
    further = [name for name, known in ((NLL, [r.nll for r in results]),
                                        (CALIBRATION, [r.calibration_error for r in results]))
               if any(known)]  # fmt: skip
    for column in part.columns:
        headers.append(column.label)
        if part.published:
            headers += ["published", "difference"]
        headers += [ALSO] if _has_further(table, part, column) else []
        headers += [*further, BEST_EPOCH]
        groups += [column.label] * (len(headers) - len(groups))
    lines: list[Line] = []
    for cell in spec.cells_of(part):
        if cell.column == part.columns[0]:
            first = cell.method == part.methods[0]
            labels = [cell.row.label if first else "", cell.method.label]
            lines.append(Line(labels, [], first))
        result, entries = table.cells[cell], lines[-1].entries
        seeds = len(spec.seeds_of(cell))
        text = format_statistic(result.error, seeds)
        entries.append(Entry(text, table.is_best(result)))
        if part.published:
            entries.append(Entry(format_published(result.published)))
            entries.append(Entry(format_difference(result)))
        if _has_further(table, part, cell.column):
            entries.append(Entry(format_published(result.also_published)))
        if NLL in further:
            entries.append(Entry(format_statistic(result.nll, seeds, digits=3)))
        if CALIBRATION in further:
            entries.append(Entry(format_statistic(result.calibration_error, seeds)))
        entries.append(Entry(format_statistic(result.best, seeds)))
    return Grid(headers, lines, label_columns=2, groups=groups)


def notes(table: TableResult) -> list[str]:
    """What must be read with the numbers; at last the verdict."""
    spec = table.spec
    results = table.results
    lines = [
        spec.note,
        f"{table.evaluated.capitalize()} error in % of the {spec.error_of} epoch's weights: mean ± "
        f"sample standard deviation (number of seeds), {_seeds(table)}. Bold: decided to be "
        f"below every method that it is compared with"
        f"{', where no run of it diverged' if table.diverged else ''}.",
        f"† {BEST_EPOCH.rstrip('†')}: the lowest {table.evaluated} error of any epoch. It was "
        f"chosen on those very images, so it is no estimate of anything; it is here to compare "
        f"with papers that report it.",
    ]
    lines += _published_notes(spec)
    if any(result.nll for result in results):
        lines.append(f"{NLL}: mean −log probability of the true class in nats, last epoch.")
    if any(result.calibration_error for result in results):
        lines.append(
            f"{CALIBRATION}: expected calibration error in percentage points, 15 bins of equal "
            f"width (Guo et al. 2017), last epoch."
        )
    verdict = verdict_in_words(table)
    return [*lines, *comparison_notes(table), *([] if verdict is None else [verdict])]


def _published_notes(spec: TableSpec) -> Iterator[str]:
    parts = spec.parts.values()
    for what, theirs in dict.fromkeys(whose(part.published) for part in parts if part.published):
        yield (
            f"published: {what}; difference: ours minus {theirs}, "
            "in percentage points. Where both have a standard deviation, and ours three seeds, its "
            "95 % interval follows (Welch's, as for two published runs; their number is unknown): "
            "different where it leaves out 0; compatible where the error of our mean alone holds "
            "0; open between, where it depends on that number."
        )
    for what, _ in dict.fromkeys(whose(part.also_published) for part in parts
                                 if part.also_published):  # fmt: skip
        yield f"{ALSO}: {what}."


def _has_further(table: TableResult, part: Part, column: Column) -> bool:
    """Whether the part's other file has a value of one of the column's cells."""
    cells = [cell for cell in table.spec.cells_of(part) if cell.column == column]
    return any(table.cells[cell].also_published for cell in cells)


def _seeds(table: TableResult) -> str:
    spec = table.spec
    text = f"seeds {', '.join(map(str, spec.seeds))}"
    if spec.grows:
        end = ", or until a run of them diverged" if table.diverged else ""
        return f"of {text} the first ones, added until a cell's comparisons were decided{end}"
    fewer: dict[tuple[str, str], None] = {}
    for cell in spec.cells():
        if (own := spec.seeds_of(cell)) != spec.seeds:
            fewer[cell.column.label, ", ".join(map(str, own))] = None
    return "; ".join([text, *(f"{column}: {own}" for column, own in fewer)])


def to_markdown(table: TableResult) -> str:
    return page(table, make_grids(table), notes(table))


def to_csv(table: TableResult) -> str:
    """One line a cell, all numbers unrounded, for other programs."""
    return csv_text(CSV_COLUMNS, (_csv_line(result) for result in table.cells.values()))


def _csv_line(result: CellResult) -> list:
    cell, error, published = result.cell, result.error, result.published
    agreement = result.agreement
    return [
        cell.row.label,
        cell.column.label,
        cell.method.label,
        cell.column.dataset,
        cell.augmentation,
        error.n if error else 0,
        *unrounded_statistic(error),
        *unrounded_statistic(result.best),
        unrounded_statistic(result.fit)[0],
        *([published.error, unrounded(published.std)] if published else ["", ""]),
        unrounded(result.difference),
        *(map(unrounded, agreement.interval) if agreement else ["", ""]),
        agreement.statement if agreement else "",
        *unrounded_statistic(result.nll),
        *unrounded_statistic(result.calibration_error),
        " ".join(f"{error:g}" for error in result.errors),
    ]


def to_latex(table: TableResult) -> str:
    r"""A ``tabular`` with booktabs rules for each part, to be \input into a paper."""
    out = [line for text in (table.spec.title, *notes(table)) for line in comment(text)]
    out.append(r"% needs \usepackage{booktabs}")
    for grid in make_grids(table):
        out += [*tabular(grid), ""]
    return "\n".join(out)


def to_terminal(table: TableResult, width: int | None = None) -> list[Table]:
    """For a console of ``width`` characters, one or more a part and of the comparisons."""
    return [
        part
        for grid in make_grids(table)
        for part in fitted(table.spec.title, grid, width, LEFT_TO_FILES)
    ]
