"""From run records to the numbers of a table."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnp.jobs import (
    FinishedRun,
    SeriesResult,
    Wanted,
    differences,
    read_series,
    said_of_diverged,
)
from gnp.settings.table import Part
from gnp.statistics.sequential import FIXED_SEEDS
from gnp.statistics.verdict import Rule
from gnp.tables.cell_result import CellResult
from gnp.tables.comparisons import Comparison, compare, compared_methods
from gnp.tables.predictions import Judged, judged
from gnp.tables.published import Published, published_table
from gnp.tables.spec import Cell, Run, TableSpec
from gnp.tracking.damage import DamagedRecord


@dataclass(frozen=True)
class TableResult(SeriesResult):
    """A table's cells with what the records say of them. ``rule`` is what decides between them."""

    spec: TableSpec
    cells: dict[Cell, CellResult]
    rule: Rule

    @property
    def results(self) -> Collection[CellResult]:
        return self.cells.values()

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Of each row and column the methods with those that they are compared with, each once,
        row by row."""
        pairs: dict[tuple[Cell, Cell], None] = {}
        for part in self.spec.parts.values():
            for row in part.rows:
                for column in part.columns:
                    for methods in compared_methods(part):
                        ours, reference = (self.spec.cell(row, column, m) for m in methods)
                        if (reference, ours) not in pairs:
                            pairs[ours, reference] = None
        return compare([(self.cells[a], self.cells[b]) for a, b in pairs], self.rule)

    def is_best(self, result: CellResult) -> bool:
        """Whether it takes part in comparisons, and all of them are decided for it; not where runs
        of it diverged, which is no error that could be compared."""
        own = [c for c in self.comparisons if result is c.ours or result is c.reference]
        return bool(own) and not result.diverged and all(c.winner() is result for c in own)


def collect(
    spec: TableSpec,
    root: str | Path,
    command: str | None = None,
    wanted: Wanted | None = None,
    unrecorded: Mapping[str, Any] = {},
    rule: Rule = FIXED_SEEDS,
) -> TableResult:
    """Read the records of all runs of a table; ``command`` is printed as what made it.

    Records that are damaged, or were made with another config than ``wanted``, are left out and
    named in ``warnings``. Without ``wanted`` the seeds of each cell are compared with one another.
    ``unrecorded`` is what a record that does not name a setting was made with. ``rule`` decides
    between methods: ``Sequential`` where seeds were added until it did.

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
    """
    root = Path(root)
    command = command or f"python scripts/reproduce_table.py table={spec.name} root={root}"
    published = _published(spec, lambda part: part.published)
    also_published = _published(spec, lambda part: part.also_published)
    runs = {cell: [Run(cell, seed) for seed in spec.seeds_of(cell)] for cell in spec.cells()}
    read, warnings = read_series(runs, root, wanted, unrecorded)
    warnings += said_of_diverged(read.values())
    cells = {}
    for cell, records in read.items():
        if wanted is None:
            warnings += differences(records.finished, _without_seed, unrecorded)
        cells[cell] = CellResult(
            records.finished,
            records.missing,
            cell,
            published.get(cell),
            spec.error_of,
            tuple(_judged(f, warnings) for f in records.finished),
            also_published.get(cell),
            diverged=records.diverged,
        )
    return TableResult(spec, root, warnings, command, cells, rule)


def _published(spec: TableSpec, of: Callable[[Part], str | None]) -> dict[Cell, Published]:
    """What the file of a cell's part says of it; of a cell in two parts the first one's."""
    found: dict[Cell, Published] = {}
    for part in spec.parts.values():
        if (name := of(part)) is None:
            continue
        for cell in spec.cells_of(part):
            key = (cell.row.published, cell.method.label, cell.column.published)
            if (value := published_table(name).get(key)) is not None:
                found.setdefault(cell, value)
    return found


def _judged(run: FinishedRun, warnings: list[str]) -> Judged | None:
    try:
        return judged(run.record)
    except DamagedRecord as error:
        warnings.append(f"{error}; these predictions are left out")
        return None


def _without_seed(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "seed": None}
