"""What a table consists of: the cells and runs of its parts, as ``configs/table/*.yaml`` say."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gnp.jobs.job import Job
from gnp.settings.table import Column, Method, Part, Row, TableSettings


class TableSpec(TableSettings):
    """A table's settings, and which cells and runs they make."""

    def cells(self) -> Iterator["Cell"]:
        """In the printed order; one that two parts have comes once."""
        yield from dict.fromkeys(c for part in self.parts.values() for c in self.cells_of(part))

    def cells_of(self, part: Part) -> Iterator["Cell"]:
        for row in part.rows:
            for method in part.methods:
                for column in part.columns:
                    yield Cell(row, column, method, self.fidelity)

    def runs(self) -> Iterator["Run"]:
        """Seed by seed, so that a table that is stopped early has every cell at least once."""
        for seed in self.seeds:
            for cell in self.cells():
                if seed in self.seeds_of(cell):
                    yield Run(cell, seed)

    def seeds_of(self, cell: "Cell") -> list[int]:
        return self.seeds[: cell.column.seeds]


@dataclass(frozen=True)
class Cell:
    row: Row
    column: Column
    method: Method
    fidelity: str = "paper"

    @property
    def experiment(self) -> str:
        return self.row.experiment + self.column.experiment_suffix

    @property
    def augmentation(self) -> str:
        official = self.column.official_augmentation if self.fidelity == "official" else None
        return official or self.column.augmentation

    @property
    def folder_of_method(self) -> str:
        suffix = "" if self.fidelity == "paper" else f"-{self.fidelity}"
        return (self.method.name or self.method.optimizer) + suffix

    @property
    def path(self) -> Path:
        place = f"{self.column.dataset}-{self.augmentation}"
        return Path(self.experiment, place, self.folder_of_method)


@dataclass(frozen=True)
class Run(Job):
    """A cell with a seed: one training."""

    cell: Cell
    seed: int

    @property
    def path(self) -> Path:
        return self.cell.path / f"seed{self.seed}"

    def settings(self) -> list[str]:
        cell = self.cell
        return [
            f"experiment={cell.experiment}",
            f"dataset={cell.column.dataset}",
            f"augmentation={cell.augmentation}",
            f"optimizer={cell.method.optimizer}",
            *([] if cell.fidelity == "paper" else [f"fidelity={cell.fidelity}"]),
            *([f"method={cell.folder_of_method}"] if cell.method.name else []),
            *shlex.split(cell.method.settings),
            f"seed={self.seed}",
        ]
