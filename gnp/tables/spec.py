"""What a table consists of: the cells and runs of its parts, as ``configs/table/*.yaml`` say."""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import PrivateAttr, model_validator

from gnp.jobs.job import Job
from gnp.settings.compose import OFFICIAL
from gnp.settings.overrides import override, parsed
from gnp.settings.table import Column, Method, Part, Row, SpecError, TableSettings
from gnp.tables.published import published_table


class TableSpec(TableSettings):
    """A table's settings, and which cells and runs they make."""

    _counts: dict["Cell", int] | None = PrivateAttr(None)  # seeds of each cell; None: as listed

    @model_validator(mode="after")
    def _cells_have_places_of_their_own(self) -> "TableSpec":
        """Else one would be trained, and stand under both labels. A cell that two parts have is one
        cell. Names that differ in case or accents' spelling are one on some file systems."""
        known: dict[str, Cell] = {}
        for cell in self.cells():
            place = unicodedata.normalize("NFC", str(cell.path)).casefold()
            other = known.setdefault(place, cell)
            if other != cell:
                raise self._wrong(
                    f"{other} and {cell} would have the same runs, in {cell.path}; "
                    f"give one of them another name, or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _overrides_leave_the_methods(self) -> "TableSpec":
        """They come last: a method would be trained with other settings than it is named for."""
        for method in (method for part in self.parts.values() for method in part.methods):
            own = {one.key_or_group for one in parsed(method.further)}
            for text in self.overrides:
                if (name := parsed([text])[0].key_or_group) in own:
                    raise self._wrong(
                        f"overrides have {text}, and the settings of the method {method.label} "
                        f"{name} too, which would be without effect; leave it out of one of them"
                    )
        return self

    @model_validator(mode="after")
    def _published_values_exist(self) -> "TableSpec":
        for part in self.parts.values():
            try:
                files = (part.published, part.also_published)
                known, _ = (name and published_table(name) for name in files)
            except SpecError as error:
                raise self._wrong(str(error)) from error
            if not known:
                continue
            for kind, entries, names in (
                ("row", part.rows, [model for model, _, _ in known]),
                ("column", part.columns, [column for _, _, column in known]),
            ):
                for entry in entries:
                    if entry.published is not None and entry.published not in names:
                        raise self._wrong(
                            f"{kind} {entry.label}: {part.published} has no {kind} "
                            f"{entry.published!r}; it has {', '.join(dict.fromkeys(names))}"
                        )
        return self

    def cells(self) -> Iterator["Cell"]:
        """In the printed order; one that two parts have comes once."""
        yield from dict.fromkeys(c for part in self.parts.values() for c in self.cells_of(part))

    def cells_of(self, part: Part) -> Iterator["Cell"]:
        for row in part.rows:
            for method in part.methods:
                for column in part.columns:
                    yield self.cell(row, column, method)

    def cell(self, row: Row, column: Column, method: Method) -> "Cell":
        return Cell(row, column, method, self.fidelity)

    def runs(self) -> Iterator["Run"]:
        """Seed by seed, so that a table that is stopped early has every cell at least once."""
        for seed in self.seeds:
            for cell in self.cells():
                if seed in self.seeds_of(cell):
                    yield Run(cell, seed)

    def seeds_of(self, cell: "Cell") -> list[int]:
        own = self.seeds[: cell.column.seeds]
        return own if self._counts is None else own[: self._counts[cell]]

    @property
    def grows(self) -> bool:
        """Whether each cell has a number of seeds of its own, which its comparisons asked for."""
        return self._counts is not None

    def with_seeds(self, seeds: list[int]) -> "TableSpec":
        return self.model_copy(update={"seeds": seeds})

    def grown(self, counts: Mapping["Cell", int]) -> "TableSpec":
        """With the first ``counts[cell]`` seeds of each cell, and no others in ``seeds``."""
        new = self.with_seeds(self.seeds[: max(counts.values())])
        new._counts = dict(counts)
        return new


@dataclass(frozen=True)
class Cell:
    row: Row
    column: Column
    method: Method
    fidelity: str = "paper"

    def __str__(self) -> str:
        return f"{self.method.label!r} of {self.row.label!r}, {self.column.label!r}"

    @property
    def experiment(self) -> str:
        return self.row.experiment + self.column.experiment_suffix

    @property
    def augmentation(self) -> str:
        official = self.column.official_augmentation if self.fidelity.startswith(OFFICIAL) else None
        return official or self.column.augmentation

    @property
    def folder_of_method(self) -> str:
        suffix = "" if self.fidelity == "paper" else f"-{self.fidelity}"
        return self.method.folder + suffix

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
            override("experiment", cell.experiment),
            override("dataset", cell.column.dataset),
            override("augmentation", cell.augmentation),
            override("optimizer", cell.method.optimizer),
            *([] if cell.fidelity == "paper" else [override("fidelity", cell.fidelity)]),
            *([override("method", cell.folder_of_method)] if cell.method.name else []),
            *cell.method.further,
            f"seed={self.seed}",
        ]
