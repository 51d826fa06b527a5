"""A table as a page that needs nothing else: report.html; and its differences as a figure."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gnp.report.differing import differing
from gnp.report.numbers import MISSING, format_statistic
from gnp.report.page import Column, Figure, Page, Row, Section, Table, Text, of_grid
from gnp.report.series_page import seeds_table, series_page
from gnp.report.whiskers import Whisker, picture
from gnp.statistics import Statistic
from gnp.tables.cell_result import CellResult
from gnp.tables.collect import TableResult
from gnp.tables.comparison_text import comparisons_grid, verdict_in_words
from gnp.tables.plots import Curves
from gnp.tables.text import notes, part_grid

NO_VERDICT = "No two methods are compared."


def to_page(
    table: TableResult, folder: Path, curves: Curves, unrecorded: Mapping[str, Any]
) -> Page:
    """Args:
    folder: where it will lie.
    unrecorded: what a record that does not name a setting was made with.
    """
    verdict = verdict_in_words(table)
    texts = [note for note in notes(table) if note != verdict]
    sections = [
        *_differences(table),
        Section("Errors", list(_errors(table))),
        *_comparisons(table),
        Section("Each seed", [_seeds(table)]),
        *_settings(table, unrecorded),
        *_curves(curves),
        Section("Fit and generalisation", _fit(table)),
    ]
    return series_page(table, folder, texts, verdict or NO_VERDICT, sections)


def differences_picture(
    table: TableResult, narrow: bool = False, alone: bool = False
) -> Markup | None:
    """The compared pairs of methods that have an interval; None where there are none."""
    whiskers = [
        Whisker(
            f"{c.ours.cell.row.label}, {c.ours.cell.column.label}",
            c.name,
            c.differences.values,
            c.differences.mean,
            c.interval,
            c.verdict.decision if c.verdict else "",
            bool(c.verdict and c.verdict.decided),
        )
        for c in table.comparisons
        if c.interval is not None
    ]
    if not whiskers:
        return None
    axis = "difference in error, percentage points" + (
        "" if narrow else "; below 0 the first has the lower one"
    )
    return picture(whiskers, table.spec.title, axis, narrow, alone)


def _differences(table: TableResult) -> Iterator[Section]:
    wide = differences_picture(table)
    if wide is None:
        return
    caption = (
        "Dot: mean difference between two methods' errors, paired by seed; below 0 (left) the "
        "first has the lower error. Line: its 95 % interval; it takes no account of how many "
        "comparisons there are, the verdict does. Strokes: single seeds. Filled: decided. An "
        "arrow: the interval goes on."
    )
    if silent := sum(c.interval is None for c in table.comparisons):
        of = len(table.comparisons)
        caption += f" {silent} of {of} comparisons have no interval: too few seeds, or no spread."
    yield Section("Differences", [Figure(caption, [wide], None, differences_picture(table, True))])


def _errors(table: TableResult) -> Iterator[Table]:
    for name, part in table.spec.parts.items():
        grid = part_grid(table, part)
        caption = f"{table.evaluated.capitalize()} error, %: mean ± standard deviation (seeds)"
        yield of_grid(grid, _of_parts(table, [name], caption))


def _of_parts(table: TableResult, names: Iterable[str], caption: str) -> str:
    """A caption that says of which parts it is, where the table has several."""
    return f"Part {', '.join(names)}. {caption}" if len(table.spec.parts) > 1 else caption


def _comparisons(table: TableResult) -> Iterator[Section]:
    grid = comparisons_grid(table)
    if grid is not None:
        caption = "The first method's error minus the second's, percentage points"
        yield Section("Comparisons", [of_grid(grid, caption, filtered=len(grid.lines) > 12)])


def _seeds(table: TableResult) -> Table:
    rows = [((c.row.label, c.method.label, c.column.label), r) for c, r in table.cells.items()]
    caption = f"{table.evaluated.capitalize()} error, %, of each seed"
    return seeds_table(caption, ("model", "method", "column"), rows)


def _settings(table: TableResult, unrecorded: Mapping[str, Any]) -> Iterator[Section]:
    """A table for each model; its columns together where their methods differ in the same way."""
    found: dict[tuple, list[tuple[str, str]]] = {}
    for name, part in table.spec.parts.items():
        for row in part.rows:
            for column in part.columns:
                results = [table.cells[table.spec.cell(row, column, m)] for m in part.methods]
                there = [result for result in results if result.finished]
                methods = tuple(result.cell.method.label for result in there)
                configs = [result.finished[0].config for result in there]
                rows = tuple((key, *values) for key, values in differing(configs, unrecorded))
                if rows:
                    found.setdefault((row.label, methods, rows), []).append((name, column.label))
    if found:
        yield Section("Settings in which the methods differ", [
            Table(_of_parts(table, dict.fromkeys(part for part, _ in where),
                            f"{model}: {', '.join(column for _, column in where)}"),
                  [Column("setting"), *(Column(method, numeric=True) for method in methods)],
                  [*map(Row, rows)])
            for (model, methods, rows), where in found.items()
        ])  # fmt: skip


def _curves(curves: Curves) -> Iterator[Section]:
    if curves.legend:
        caption = (
            "Solid: error on the evaluated images. Dashed: error as seen in training (augmented "
            "images, dropout on). Lines are means over seeds, bands lowest to highest."
        )
        figure = Figure(caption, curves.pictures, curves.to_legend())
        yield Section("Learning curves", [figure])


def _fit(table: TableResult) -> list[Text | Table]:
    numbers = ["fit error, %", "error, %", "gap", "seconds a run"]
    columns = [*map(Column, ("model", "method", "column")), *(Column(n, True) for n in numbers)]
    rows = [
        Row(
            [
                cell.row.label,
                cell.method.label,
                cell.column.label,
                format_statistic(result.fit),
                format_statistic(_last(result)),
                _gap(result),
                _seconds(result),
            ]
        )
        for cell, result in table.cells.items()
    ]
    note = (
        "Fit error: last weights on the training images, without augmentation and dropout; error: "
        "theirs on the evaluated ones. The gap is what generalisation costs."
    )
    return [Text(note), Table("Error on training and on evaluated images", columns, rows, 3)]


def _gap(result: CellResult) -> str:
    last = _last(result)
    if last is None or result.fit is None:
        return MISSING
    return f"{last.mean - result.fit.mean:.2f}"


def _last(result: CellResult) -> Statistic | None:
    """The last weights' error, which is what the fit error is of, also where the best epochs are
    compared."""
    return Statistic.of([run.error for run in result.finished])


def _seconds(result: CellResult) -> str:
    if not result.finished:
        return MISSING
    return f"{sum(f.summary['seconds'] for f in result.finished) / len(result.finished):.0f}"
