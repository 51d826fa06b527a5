"""What a table consists of: parts of rows × columns × methods, times seeds, as
``configs/table/*.yaml`` say."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
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
    """A data set with an augmentation. ``published`` is its name in the published table.

    ``official_augmentation`` takes the augmentation's place with fidelity=official, where the
    authors' code has another. ``experiment_suffix`` is added to the row's experiment where this
    column has a recipe of its own. ``seeds`` is a number: only so many of the table's seeds, the
    first ones, where a column is not worth them all.
    """

    label: str = "???"
    dataset: str = "???"
    augmentation: str = "???"
    published: str | None = None
    official_augmentation: str | None = None
    experiment_suffix: str = ""
    seeds: int | None = None


@dataclass(frozen=True)
class Method:
    """``optimizer`` is a choice of ``configs/optimizer`` and the method's folder.

    ``settings`` are further ones, as on a command line ("optimizer.r=0.2 training.epochs=5"); a
    method that has some has a ``name`` too, which is then its folder.
    """

    label: str = "???"
    optimizer: str = "???"
    name: str | None = None
    settings: str = ""


@dataclass  # not frozen: OmegaConf cannot fill a frozen one inside a dict
class Part:
    """A block of a table that has columns and methods of its own.

    ``published`` names a file of ``gnp/tables/published`` whose values stand beside ours.
    """

    rows: list[Row] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    methods: list[Method] = field(default_factory=list)
    published: str | None = None


@dataclass(frozen=True)
class TableSpec:
    """A table. ``note`` is printed with it: what the numbers are and are not.

    ``parts`` have names, so that the command line can reach into them and ``null`` leaves one out.
    ``overrides`` are settings that every run of the table gets, ``fidelity`` is one of
    ``configs/fidelity``, and ``error_of`` says whose error is compared: the "last" epoch's, or the
    "best" epoch's, which was chosen on the evaluated images.
    """

    name: str = "???"
    title: str = "???"
    note: str = "???"
    parts: dict[str, Part | None] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    fidelity: str = "paper"
    error_of: str = "last"
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
        parts = {name: part for name, part in spec.parts.items() if part is not None}
        if not parts:
            raise SpecError(f"table {spec.name}: parts is empty")
        if spec.error_of not in ("last", "best"):
            raise SpecError(f"table.error_of={spec.error_of}: expected last or best")
        lists = {"seeds": spec.seeds}
        for name, part in parts.items():
            for key in ("rows", "columns", "methods"):
                lists[f"parts.{name}.{key}"] = getattr(part, key)
        for name, values in lists.items():
            if not values:
                raise SpecError(f"table {spec.name}: {name} is empty")
            if len(set(values)) != len(values):
                raise SpecError(f"table {spec.name}: {name} lists something twice")
        for column in (column for part in parts.values() for column in part.columns):
            if column.seeds is not None and column.seeds < 1:
                raise SpecError(
                    f"table {spec.name}: column {column.label} has seeds={column.seeds}"
                )
        for method in (method for part in parts.values() for method in part.methods):
            if method.settings and not method.name:
                raise SpecError(
                    f"table {spec.name}: method {method.label} has settings and needs a name, or "
                    f"its runs would lie where {method.optimizer}'s do"
                )
        return replace(spec, parts=parts)

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


class Training:
    """What runs of tables and of studies have in common: they add ``path`` and ``settings``,
    and ``change_in`` where the path names values of the optimizer."""

    @property
    def path(self) -> Path:
        """Its identity, and its folder below ``<root>/runs``."""
        raise NotImplementedError

    def settings(self) -> list[str]:
        """What ``scripts/train.py`` is told to train it."""
        raise NotImplementedError

    def change_in(self, optimizer: Any) -> str:
        """What the resolved config's ``optimizer`` section has otherwise than this run is named
        for, to be put behind "became …"; "" for nothing."""
        return ""

    def folder(self, root: str | Path) -> Path:
        return Path(root, "runs", self.path)

    def command(self, root: str | Path, overrides: list[str]) -> str:
        """The command that trains it, to be copied."""
        settings = [*self.settings(), f"root={root}", *overrides]
        return shlex.join(["python", "scripts/train.py", *settings])


@dataclass(frozen=True)
class Run(Training):
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
