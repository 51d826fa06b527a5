"""From run records to the numbers of a table."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnp.jobs import SeedsResult, SeriesResult, Wanted, differences, read_series
from gnp.statistics import Statistic, is_lowest
from gnp.tables.published import Published, published_table
from gnp.tables.spec import Cell, Run, TableSpec


@dataclass(frozen=True)
class CellResult(SeedsResult):
    """A cell's runs. ``error_of`` says which epoch's error is compared: "last" or "best"."""

    cell: Cell
    published: Published | None
    error_of: str = "last"

    @cached_property
    def errors(self) -> list[float]:
        """The errors (%) that are compared, one a finished seed."""
        return [f.error if self.error_of == "last" else f.best_error for f in self.finished]

    @cached_property
    def best(self) -> Statistic | None:
        return Statistic.of([f.best_error for f in self.finished])

    @cached_property
    def fit(self) -> Statistic | None:
        """Error (%) on the training images, without augmentation and dropout."""
        return Statistic.of([f.summary["final"]["fit_error"] for f in self.finished])

    @property
    def difference(self) -> float | None:
        """Ours minus the published mean, in percentage points."""
        if self.error is None or self.published is None:
            return None
        return self.error.mean - self.published.error


@dataclass(frozen=True)
class TableResult(SeriesResult):
    """A table's cells with what the records say of them."""

    spec: TableSpec
    cells: dict[Cell, CellResult]

    @property
    def results(self) -> Collection[CellResult]:
        return self.cells.values()

    def is_best(self, result: CellResult) -> bool:
        """Whether its method has the lowest mean of its row and column."""
        rivals = (
            other.error
            for cell, other in self.cells.items()
            if (cell.row, cell.column) == (result.cell.row, result.cell.column)
        )
        return is_lowest(result.error, rivals)


def collect(
    spec: TableSpec,
    root: str | Path,
    command: str | None = None,
    wanted: Wanted | None = None,
    unrecorded: Mapping[str, Any] = {},
) -> TableResult:
    """Read the records of all runs of a table; ``command`` is printed as what made it.

    Records that are damaged, or were made with another config than ``wanted``, are left out and
    named in ``warnings``. Without ``wanted`` the seeds of each cell are compared with one another.
    ``unrecorded`` is what a record that does not name a setting was made with.

    Raises:
        SeriesMismatch: there are records, and not one was made with the wanted config.
    """
    root = Path(root)
    command = command or f"python scripts/reproduce_table.py table={spec.name} root={root}"
    published = {}
    for part in spec.parts.values():
        published |= published_table(part.published) if part.published else {}
    runs = {cell: [Run(cell, seed) for seed in spec.seeds_of(cell)] for cell in spec.cells()}
    read, warnings = read_series(runs, root, wanted, unrecorded)
    cells = {}
    for cell, records in read.items():
        if wanted is None:
            warnings += differences(records.finished, _without_seed, unrecorded)
        key = (cell.row.published, cell.method.label, cell.column.published)
        cells[cell] = CellResult(
            records.finished, records.missing, cell, published.get(key), spec.error_of
        )
    return TableResult(spec, root, warnings, command, cells)


def _without_seed(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "seed": None}
