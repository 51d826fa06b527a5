"""What a table consists of: rows × columns × methods × seeds, as ``configs/table/*.yaml`` say."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gnp.errors import UserError


class SpecError(UserError, ValueError):
    """A table's config is not what a table needs."""


@dataclass(frozen=True)
class Row:
    """A network: ``label`` is printed, ``experiment`` is trained.

    ``published`` is the model's name in the published table, where there is one.
    """

    label: str = "???"
    experiment: str = "???"
    published: str | None = None


@dataclass(frozen=True)
class Column:
    """A data set with an augmentation. ``published`` is its name in the published table."""

    label: str = "???"
    dataset: str = "???"
    augmentation: str = "???"
    published: str | None = None


@dataclass(frozen=True)
class Method:
    """``optimizer`` is a choice of ``configs/optimizer`` and the method's folder."""

    label: str = "???"
    optimizer: str = "???"


@dataclass(frozen=True)
class TableSpec:
    """A table. ``note`` is printed with it: what the numbers are and are not.

    ``published`` names a file of ``gnp/tables/published`` whose values stand beside ours;
    ``overrides`` are settings that every run of the table gets.
    """

    name: str = "???"
    title: str = "???"
    note: str = "???"
    rows: list[Row] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    methods: list[Method] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    published: str | None = None
    overrides: list[str] = field(default_factory=list)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "TableSpec":
        """Raises SpecError for a missing, unknown or ill-typed entry, or an empty list."""
        try:
            merged = OmegaConf.merge(OmegaConf.structured(cls), config)
            OmegaConf.to_container(merged, resolve=True, throw_on_missing=True)
            spec = OmegaConf.to_object(merged)
        except OmegaConfBaseException as error:
            first_line = str(error).split("\n", 1)[0]
            raise SpecError(f"table.{getattr(error, 'full_key', '')}: {first_line}") from error
        for name in ("rows", "columns", "methods", "seeds"):
            values = getattr(spec, name)
            if not values:
                raise SpecError(f"table {spec.name}: {name} is empty")
            if len(set(values)) != len(values):
                raise SpecError(f"table {spec.name}: {name} lists something twice")
        return spec

    def cells(self) -> Iterator["Cell"]:
        """In the printed order."""
        for row in self.rows:
            for method in self.methods:
                for column in self.columns:
                    yield Cell(row, column, method)

    def runs(self) -> Iterator["Run"]:
        """Seed by seed, so that a table that is stopped early has every cell at least once."""
        for seed in self.seeds:
            for cell in self.cells():
                yield Run(cell, seed)


@dataclass(frozen=True)
class Cell:
    row: Row
    column: Column
    method: Method

    @property
    def path(self) -> Path:
        place = f"{self.column.dataset}-{self.column.augmentation}"
        return Path(self.row.experiment, place, self.method.optimizer)


@dataclass(frozen=True)
class Run:
    """A cell with a seed: one training."""

    cell: Cell
    seed: int

    @property
    def path(self) -> Path:
        """Its identity, and its folder below ``<root>/runs``."""
        return self.cell.path / f"seed{self.seed}"

    def folder(self, root: str | Path) -> Path:
        return Path(root, "runs", self.path)

    def settings(self) -> list[str]:
        """What ``scripts/train.py`` is told to train it."""
        cell = self.cell
        return [
            f"experiment={cell.row.experiment}",
            f"dataset={cell.column.dataset}",
            f"augmentation={cell.column.augmentation}",
            f"optimizer={cell.method.optimizer}",
            f"seed={self.seed}",
        ]

    def command(self, root: str | Path, overrides: list[str]) -> str:
        """The command that trains it, to be copied."""
        settings = [*self.settings(), f"root={root}", *overrides]
        return shlex.join(["python", "scripts/train.py", *settings])
