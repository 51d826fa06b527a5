"""What the pages of tables, studies and tunings have in common: title, verdict, values of each
seed, runs, what failed, what is missing, and how it was made."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from gnp.jobs import SeedsResult, SeriesResult
from gnp.report.numbers import MISSING, format_statistic
from gnp.report.page import Column, Output, Page, Row, Section, Table, Text
from gnp.report.runs import (
    Environments,
    finished_row,
    runs_table,
    troubles,
    unfinished,
    unfinished_row,
)
from gnp.tracking.reading import SUMMARY

INDEX = "index.html"  # of a results root
LEFT_OUT = "left out"  # a run with a record that is not used: the warnings say why


def series_page(
    result: SeriesResult,
    folder: Path,
    notes: Sequence[str],
    verdict: str,
    sections: Sequence[Section],
) -> Page:
    """Args:
    folder: where the page will lie.
    notes: what must be read with the numbers; the first one above all of them, as written by who
        made the series.
    verdict: what is decided, in words.
    sections: what is its own.
    """
    first, *others = notes
    top = [Text(first, "label"), Text(verdict, "verdict")]
    top += [Text(warning, "warning") for warning in result.warnings]
    shared = [Section("What the numbers are", [Text(note) for note in others])]
    index = result.root / INDEX
    return Page(
        result.spec.title,
        verdict,
        [Section("", top), *sections, *shared, *_runs(result, folder), _made(result)],
        ("All results", f"../../{INDEX}") if index.exists() else None,
    )


def seeds_table(
    caption: str, labels: Sequence[str], results: Iterable[tuple[Sequence[str], SeedsResult]]
) -> Table:
    """The compared error of each seed.

    Args:
        labels: the columns that name a row.
        results: with what stands in those.
    """
    results = list(results)
    own = [
        dict(zip((f.summary["seed"] for f in result.finished), result.errors, strict=True))
        for _, result in results
    ]
    seeds = sorted({seed for errors in own for seed in errors})
    columns = [*map(Column, labels), *(Column(f"seed {seed}", numeric=True) for seed in seeds)]
    rows = [
        Row([*names, *(f"{errors[s]:.2f}" if s in errors else MISSING for s in seeds),
             format_statistic(result.error)])
        for (names, result), errors in zip(results, own, strict=True)
    ]  # fmt: skip
    return Table(caption, [*columns, Column("mean ± std (n)", numeric=True)], rows, len(labels))


def _runs(result: SeriesResult, folder: Path) -> list[Section]:
    environments = Environments()
    rows, left = [], []
    for one in result.results:
        rows += [finished_row(f.record, folder, environments) for f in one.finished]
        for run in [*one.missing, *(diverged.run for diverged in one.diverged)]:
            place = run.folder(result.root)
            there = unfinished(run.path, place)
            if (place / SUMMARY).exists():
                there = type(there)(run.path, LEFT_OUT)
            left.append(there)
            rows.append(unfinished_row(there, place, folder))
    finished = sum(len(one.finished) for one in result.results)
    caption = f"{finished} finished runs of {len(rows)}; †: chosen on the evaluated images"
    sections = [Section("Runs", [runs_table(caption, rows)]), *troubles(left)]
    return [*sections, *environments.section()]


def _made(result: SeriesResult) -> Section:
    parts = [Output("Command", result.command)]
    if commands := result.missing_commands:
        title = f"Missing runs ({len(commands)}); each command makes one"
        parts.append(Output(title, "\n".join(commands)))
    where = f"From the records in {result.root}/runs; a run's files are linked in its row above."
    return Section("How it was made", [Text(where), *parts])
