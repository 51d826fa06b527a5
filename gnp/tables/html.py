"""A table as a page that needs nothing else: report.html."""

from collections.abc import Iterator
from html import escape

from gnp.report.numbers import format_statistic
from gnp.tables.cell_result import CellResult
from gnp.tables.collect import TableResult
from gnp.tables.text import make_grids, notes

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #444; } td { border-bottom: 1px solid #ddd; }
th.text, td.text { text-align: left; } tr.first td { border-top: 2px solid #888; }
.note { color: #444; max-width: 60rem; } .label { background: #fff6d6; padding: .6rem .8rem; }
.warning { background: #ffe3e0; padding: .6rem .8rem; }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; }
svg { max-width: 100%; height: auto; }
"""


def to_html(table: TableResult, curves: str) -> str:
    """One page without scripts, fonts or pictures from elsewhere. ``curves`` is SVG text."""
    spec = table.spec
    first, *others = notes(table)
    parts = [
        f"<h1>{escape(spec.title)}</h1>",
        f'<p class="label">{_lines(first)}</p>',
        *_main_tables(table),
        *(f'<p class="note">{_lines(note)}</p>' for note in others),
        *(f'<p class="warning">{escape(warning)}</p>' for warning in table.warnings),
    ]
    if commands := table.missing_commands:
        listed = escape("\n".join(commands))
        parts.append(f"<h2>Missing runs ({len(commands)})</h2><pre>{listed}</pre>")
    parts += [
        "<h2>Learning curves</h2>",
        '<p class="note">Solid: error on the evaluated images. Dashed: error as seen in training '
        "(augmented images, dropout on). Lines are means over seeds, bands lowest to highest.</p>",
        f'<div class="scroll">{curves}</div>',
        "<h2>Fit and generalisation</h2>",
        '<p class="note">Fit error: last weights on the training images, without augmentation '
        "and dropout. The gap is what generalisation costs.</p>",
        _fit_table(table),
        "<h2>Runs</h2>",
        _runs_table(table),
        "<h2>How it was made</h2>",
        f"<pre>{escape(table.command)}</pre>",
        '<p class="note">Every run has a folder with its config, environment and metrics, whose '
        "path is its first column, below "
        f"<code>{escape(str(table.root))}/runs</code>.</p>",
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(spec.title)}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _lines(text: str) -> str:
    return escape(text).strip().replace("\n", "<br>")


def _main_tables(table: TableResult) -> Iterator[str]:
    for grid in make_grids(table):
        rows = []
        for line in grid.lines:
            entries = [
                f"<b>{escape(e.text)}</b>" if e.best else escape(e.text) for e in line.entries
            ]
            rows.append((line.labels, entries, line.first))
        yield _html_table(grid.headers, rows, grid.label_columns)


def _fit_table(table: TableResult) -> str:
    headers = ["model", "method", "column", "fit error %", "error %", "gap", "s a run"]
    rows = []
    for cell, result in table.cells.items():
        texts = [cell.row.label, cell.method.label, cell.column.label]
        gap = "—" if result.error is None else f"{result.error.mean - result.fit.mean:.2f}"
        numbers = [format_statistic(result.fit), format_statistic(result.error), gap]
        rows.append((texts, [*numbers, _seconds(result)], False))
    return _html_table(headers, rows, text_columns=3)


def _runs_table(table: TableResult) -> str:
    headers = [
        "run",
        "error %",
        "best epoch",
        "best error % †",
        "fit error %",
        "epochs",
        "s",
        "code",
    ]
    rows = []
    for result in table.cells.values():
        for f in result.finished:
            final, best = f.summary["final"], f.summary["best"]
            numbers = [
                f"{f.error:.2f}",
                str(best["epoch"]),
                f"{f.best_error:.2f}",
                f"{final['fit_error']:.2f}",
                str(f.summary["epochs"]),
                f"{f.summary['seconds']:.0f}",
                escape(f.code),
            ]
            rows.append(([str(f.run.path)], numbers, False))
    return _html_table(headers, rows, text_columns=1)


def _seconds(result: CellResult) -> str:
    if not result.finished:
        return "—"
    return f"{sum(f.summary['seconds'] for f in result.finished) / len(result.finished):.0f}"


def _html_table(
    headers: list[str], rows: list[tuple[list[str], list[str], bool]], text_columns: int
) -> str:
    """``rows`` are (plain texts, ready HTML entries, whether a new model begins)."""
    head = "".join(
        f'<th class="text">{escape(h)}</th>' if i < text_columns else f"<th>{escape(h)}</th>"
        for i, h in enumerate(headers)
    )
    body = "".join(
        f"<tr{' class=first' if first else ''}>"
        + "".join(f'<td class="text">{escape(t)}</td>' for t in texts)
        + "".join(f"<td>{entry}</td>" for entry in entries)
        + "</tr>\n"
        for texts, entries, first in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody>'
        "</table></div>"
    )
