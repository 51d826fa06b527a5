"""From run records to the numbers of a table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnp.tables.published import Published, published_table
from gnp.tables.spec import Cell, Run, TableSpec
from gnp.tracking.record import (
    config_difference,
    read_config,
    read_environments,
    read_metrics,
    read_summary,
)


@dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation (n − 1) over seeds; std is None for one seed."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Statistic | None":
        if not values:
            return None
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), std, len(values))


@dataclass(frozen=True)
class FinishedRun:
    """A run that has a summary, with its epochs."""

    run: Run
    summary: dict[str, Any]
    metrics: list[dict[str, Any]]
    environments: list[dict[str, Any]]

    @property
    def code(self) -> str:
        """The commits that it was trained with; a star marks sources changed since."""
        codes = [e["code"] for e in self.environments]
        names = [f"{(c['commit'] or c['hash'])[:8]}{'*' if c['modified'] else ''}" for c in codes]
        return " ".join(dict.fromkeys(names))

    @property
    def error_name(self) -> str:
        return f"{self.summary['evaluated']}_error"

    @property
    def error(self) -> float:
        """Error (%) of the last epoch's weights."""
        return self.summary["final"][self.error_name]

    @property
    def best_error(self) -> float:
        """Error (%) of the best epoch, which was chosen by this very error."""
        return self.summary["best"][self.error_name]


@dataclass(frozen=True)
class CellResult:
    """A cell's finished runs, in the order of the seeds, and the seeds that are missing."""

    cell: Cell
    finished: list[FinishedRun]
    missing: list[Run]
    published: Published | None
    error_of: str = "last"

    @cached_property
    def errors(self) -> list[float]:
        """The errors (%) that are compared, one a finished seed."""
        return [f.error if self.error_of == "last" else f.best_error for f in self.finished]

    @cached_property
    def error(self) -> Statistic | None:
        return Statistic.of(self.errors)

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
class TableResult:
    """A table's cells with what the records under ``root`` say of them."""

    spec: TableSpec
    root: Path
    cells: dict[Cell, CellResult]
    warnings: list[str]
    command: str

    @property
    def missing(self) -> list[Run]:
        return [run for result in self.cells.values() for run in result.missing]

    @property
    def evaluated(self) -> str:
        """What the errors are of: "test", or "validation" where images were held out for it."""
        splits = {f.summary["evaluated"] for r in self.cells.values() for f in r.finished}
        return " and ".join(sorted(splits)) or "test"

    def is_best(self, result: CellResult) -> bool:
        """Whether its method has the lowest mean of its row and column (ties share it)."""
        rivals = [
            other.error.mean
            for cell, other in self.cells.items()
            if (cell.row, cell.column) == (result.cell.row, result.cell.column) and other.error
        ]
        return result.error is not None and len(rivals) > 1 and result.error.mean == min(rivals)


def collect(
    spec: TableSpec,
    root: str | Path,
    command: str | None = None,
    defaults: Mapping[str, Any] = {},
) -> TableResult:
    """Read the records of all runs of a table; ``command`` is printed as what made it.

    Seeds of one cell that were trained with different configs are reported in ``warnings``;
    ``defaults`` is what a record that does not name a setting was made with.
    """
    root = Path(root)
    command = command or f"python scripts/reproduce_table.py table={spec.name} root={root}"
    published = {}
    for part in spec.parts.values():
        published |= published_table(part.published) if part.published else {}
    cells, warnings = {}, []
    for cell in spec.cells():
        finished, missing, configs = [], [], {}
        for run in (Run(cell, seed) for seed in spec.seeds_of(cell)):
            folder = run.folder(root)
            summary = read_summary(folder)
            if summary is None:
                missing.append(run)
                continue
            finished.append(
                FinishedRun(run, summary, read_metrics(folder), read_environments(folder))
            )
            configs[run] = {**(read_config(folder) or {}), "seed": None}
        first = next(iter(configs), None)
        warnings += [
            f"{run.path} and {first.path} differ: {'; '.join(difference)}"
            for run, config in configs.items()
            if (difference := config_difference(configs[first], config, defaults))
        ]
        key = (cell.row.published, cell.method.label, cell.column.published)
        cells[cell] = CellResult(cell, finished, missing, published.get(key), spec.error_of)
    return TableResult(spec, root, cells, warnings, command)
