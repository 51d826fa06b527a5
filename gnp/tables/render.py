"""A table as text: Markdown, CSV, LaTeX and for the terminal.

All of them are made from one grid of strings, so that they cannot say different things.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from gnp.tables.collect import CellResult, Statistic, TableResult
from gnp.tables.spec import Part, TableSpec

MISSING = "—"
BEST_EPOCH = "best epoch†"
CSV_COLUMNS = (
    "model",
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
    "errors",
)


@dataclass(frozen=True)
class Entry:
    """A printed cell; ``best`` sets it in bold."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Line:
    """One line of a table: a model's method and its entries; ``first`` of its model."""

    model: str
    method: str
    entries: list[Entry]
    first: bool


@dataclass(frozen=True)
class Grid:
    headers: list[str]
    lines: list[Line]


def format_statistic(value: Statistic | None, seeds: int | None = None) -> str:
    """ "5.21 ± 0.08 (3)"; "(2 of 3)" where seeds are missing, "—" where all are."""
    if value is None:
        return MISSING
    count = str(value.n) if seeds in (None, value.n) else f"{value.n} of {seeds}"
    spread = "" if value.std is None else f" ± {value.std:.2f}"
    return f"{value.mean:.2f}{spread} ({count})"


def format_published(result: CellResult) -> str:
    if result.published is None:
        return MISSING
    std = result.published.std
    return f"{result.published.error:.2f}" + ("" if std is None else f" ± {std:.2f}")


def format_difference(result: CellResult) -> str:
    return MISSING if result.difference is None else f"{result.difference:+.2f}"


def make_grids(table: TableResult) -> list[Grid]:
    """A grid for each part, models × methods down, columns across; for each column our error, the
    published value and the difference where the part has published values, and the best epoch's
    error."""
    return [_make_grid(table, part) for part in table.spec.parts.values()]


def _make_grid(table: TableResult, part: Part) -> Grid:
    spec = table.spec
    headers = ["model", "method"]
    for column in part.columns:
        headers.append(column.label)
        if part.published:
            headers += ["published", "difference"]
        headers.append(BEST_EPOCH)
    lines: list[Line] = []
    for cell in spec.cells_of(part):
        if cell.column == part.columns[0]:
            first = cell.method == part.methods[0]
            lines.append(Line(cell.row.label, cell.method.label, [], first))
        result, entries = table.cells[cell], lines[-1].entries
        seeds = len(spec.seeds_of(cell))
        text = format_statistic(result.error, seeds)
        entries.append(Entry(text, table.is_best(result)))
        if part.published:
            entries.append(Entry(format_published(result)))
            entries.append(Entry(format_difference(result)))
        entries.append(Entry(format_statistic(result.best, seeds)))
    return Grid(headers, lines)


def notes(table: TableResult) -> list[str]:
    """What must be read with the numbers."""
    spec = table.spec
    lines = [
        spec.note,
        f"{table.evaluated.capitalize()} error in % of the {spec.error_of} epoch's weights: mean ± "
        f"sample standard deviation (number of seeds), {_seeds(spec)}. Bold: the lowest mean of "
        f"its model and column.",
        f"† {BEST_EPOCH.rstrip('†')}: the lowest {table.evaluated} error of any epoch. It was "
        f"chosen on those very images, so it is no estimate of anything; it is here to compare "
        f"with papers that report it.",
    ]
    if any(part.published for part in spec.parts.values()):
        lines.append(
            "published: the paper's value (arXiv 2202.03599); difference: ours minus the paper's, "
            "in percentage points."
        )
    return lines


def _seeds(spec: TableSpec) -> str:
    text = f"seeds {', '.join(map(str, spec.seeds))}"
    fewer: dict[str, list[int]] = {}
    for cell in spec.cells():
        if (own := spec.seeds_of(cell)) != spec.seeds:
            fewer[cell.column.label] = own
    return "; ".join([text, *(f"{c}: {', '.join(map(str, own))}" for c, own in fewer.items())])


def missing_commands(table: TableResult) -> list[str]:
    return [run.command(table.root, table.spec.overrides) for run in table.missing]


def to_markdown(table: TableResult) -> str:
    out = [f"# {table.spec.title}"]
    for grid in make_grids(table):
        out += ["", "| " + " | ".join(grid.headers) + " |"]
        out.append("|---|---|" + "---:|" * (len(grid.headers) - 2))
        for line in grid.lines:
            entries = [f"**{e.text}**" if e.best else e.text for e in line.entries]
            out.append(
                "| " + " | ".join([line.model if line.first else "", line.method, *entries]) + " |"
            )
    for note in notes(table):
        out += ["", note]
    for warning in table.warnings:
        out += ["", f"**Warning:** {warning}"]
    if commands := missing_commands(table):
        out += ["", f"Missing runs ({len(commands)}); each command makes one:", "", "```"]
        out += [*commands, "```"]
    out += ["", f"Made by `{table.command}` from the records in `{table.root}/runs`.", ""]
    return "\n".join(out)


def to_csv(table: TableResult) -> str:
    """One line a cell, all numbers unrounded, for other programs."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for cell, result in table.cells.items():
        error, best, fit, published = result.error, result.best, result.fit, result.published
        writer.writerow(
            [
                cell.row.label,
                cell.method.label,
                cell.column.dataset,
                cell.augmentation,
                error.n if error else 0,
                *_numbers(error),
                *_numbers(best),
                _numbers(fit)[0],
                *([published.error, _or_empty(published.std)] if published else ["", ""]),
                _or_empty(result.difference),
                " ".join(f"{error:g}" for error in result.errors),
            ]
        )
    return buffer.getvalue()


def _numbers(value: Statistic | None) -> list:
    return ["", ""] if value is None else [f"{value.mean:.6g}", _or_empty(value.std)]


def _or_empty(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def to_latex(table: TableResult) -> str:
    r"""A ``tabular`` with booktabs rules for each part, to be \input into a paper."""
    escape = str.maketrans(
        {
            "%": r"\%",
            "&": r"\&",
            "_": r"\_",
            "#": r"\#",
            "—": "--",
            "±": r"$\pm$",
            "×": r"$\times$",
            "†": r"$^\dagger$",
            "α": r"$\alpha$",
            "≥": r"$\ge$",
            "−": "$-$",
        }
    )
    out = [f"% {table.spec.title}"]
    out += [f"% {note}" for note in notes(table)]
    out.append(r"% needs \usepackage{booktabs}")
    for grid in make_grids(table):
        out += [
            rf"\begin{{tabular}}{{ll{'r' * (len(grid.headers) - 2)}}}",
            r"\toprule",
            " & ".join(h.translate(escape) for h in grid.headers) + r" \\",
        ]
        for line in grid.lines:
            if line.first:
                out.append(r"\midrule")
            entries = [
                rf"\textbf{{{e.text.translate(escape)}}}" if e.best else e.text.translate(escape)
                for e in line.entries
            ]
            model = line.model.translate(escape) if line.first else ""
            out.append(" & ".join([model, line.method.translate(escape), *entries]) + r" \\")
        out += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(out)


def to_terminal(table: TableResult, width: int | None = None) -> list[Table]:
    """For a console, one a part. Where one is wider than ``width`` characters, the best epoch's
    columns are left to the files."""
    out = []
    for grid in make_grids(table):
        whole = _terminal_table(table.spec.title, grid, range(len(grid.headers)))
        if width is not None and natural_width(whole) > width:
            kept = [i for i, header in enumerate(grid.headers) if header != BEST_EPOCH]
            title = f"{table.spec.title}; {BEST_EPOCH}: see the files"
            whole = _terminal_table(title, grid, kept)
        out.append(whole)
    return out


def natural_width(table: Table) -> int:
    """Characters that a table takes without wrapping or cutting anything."""
    console = Console(width=10_000)
    return console.measure(table).maximum


def _terminal_table(title: str, grid: Grid, kept: Sequence[int]) -> Table:
    out = Table(title=title, title_justify="left")
    for index in kept:
        justify = "left" if index < 2 else "right"
        out.add_column(grid.headers[index], justify=justify, no_wrap=True)
    for line in grid.lines:
        if line.first and line is not grid.lines[0]:
            out.add_section()
        entries = [f"[bold]{e.text}[/bold]" if e.best else e.text for e in line.entries]
        cells = [line.model if line.first else "", line.method, *entries]
        out.add_row(*(cells[index] for index in kept))
    return out
