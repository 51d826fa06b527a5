"""The settings of a table: parts of rows × columns × methods, times seeds."""

import shlex
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from gnp.errors import UserError
from gnp.settings.overrides import IDENTITY, wrong_in
from gnp.settings.section import Section, setting
from gnp.settings.series import Series
from gnp.settings.texts import FolderName, FolderNames, Label


class SpecError(UserError, ValueError):
    """A table's config is not what a table needs."""


class Row(Section):
    """A network."""

    label: Label = setting(help="what is printed")
    experiment: FolderNames = setting(help="one of configs/experiment: what is trained")
    published: str | None = setting(None, "the model's name in the published table, if it has one")


class Column(Section):
    """A data set with an augmentation."""

    label: Label = setting(help="what is printed")
    dataset: FolderName = setting(help="one of configs/dataset")
    augmentation: FolderName = setting(help="one of configs/augmentation")
    published: str | None = setting(None, "its name in the published table, if it has one")
    official_augmentation: FolderName | None = setting(
        None,
        "takes the augmentation's place with fidelity=official or official_2022, where the "
        "authors' code differs",
    )
    experiment_suffix: str = setting(
        "", "added to the row's experiment where this column has a recipe of its own"
    )
    seeds: int | None = setting(
        None,
        "only so many of the table's seeds, the first ones, where a column is not worth them all",
        expected="at least 1 or null",
    )


class Method(Section):
    """An optimizer, with further settings or without."""

    label: Label = setting(help="what is printed")
    optimizer: FolderName = setting(help="one of configs/optimizer, and the method's folder")
    name: FolderName | None = setting(None, "its folder, if it has settings")
    settings: str = setting(
        "", 'further ones, as on a command line: "optimizer.r=0.2 training.epochs=5"'
    )

    @property
    def folder(self) -> str:
        return self.name or self.optimizer

    @property
    def lacks_a_name(self) -> bool:
        """Its runs would lie where those of the optimizer without settings do."""
        return bool(self.settings) and not self.name

    @property
    def further(self) -> list[str]:
        return shlex.split(self.settings)

    @field_validator("settings")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        try:
            wrong = wrong_in(shlex.split(value), IDENTITY)
        except ValueError as error:  # a quote that does not end
            wrong = str(error)
        if wrong is not None:
            raise PydanticCustomError("custom", "{what}", {"what": wrong})
        return value


class Part(Section):
    """A block of a table that has columns and methods of its own."""

    rows: list[Row] = setting([], "networks", expected="at least one")
    columns: list[Column] = setting([], "data sets with augmentations", expected="at least one")
    methods: list[Method] = setting([], "optimizers", expected="at least one")
    published: str | None = setting(
        None, "a file of gnp/tables/published whose values stand beside ours"
    )
    also_published: str | None = setting(
        None, "another one, whose values of the same models and columns have a column of their own"
    )
    compared_with: list[str] | None = setting(
        None,
        "labels of methods with which each other one is compared; null: the first one that is "
        "neither sam nor gnp, and the first sam",
        expected="a list of labels or null",
    )

    @property
    def references(self) -> list[Method]:
        """The methods with which the others are compared, in that order."""
        if self.compared_with is not None:
            methods = {method.label: method for method in self.methods}
            return [methods[label] for label in self.compared_with]
        bases = [m for m in self.methods if m.optimizer not in ("sam", "gnp")]
        return [*bases[:1], *[m for m in self.methods if m.optimizer == "sam"][:1]]


class TableSettings(Series):
    """A table. Its parts have names, so that the command line can reach into them and ``null``
    leaves one out."""

    kind: ClassVar[str] = "table"
    error: ClassVar[type[UserError]] = SpecError

    parts: dict[str, Part] = setting({}, "blocks by their names", expected="at least one")
    fidelity: FolderName = setting(
        "paper", "one of configs/fidelity; official runs are recorded apart"
    )
    error_of: str = setting(
        "last",
        "the epoch whose error is compared; the best one was chosen on the evaluated images",
        expected="last or best",
    )

    @field_validator("parts", mode="before")
    @classmethod
    def _without_those_left_out(cls, parts: Any) -> Any:
        if not isinstance(parts, Mapping):
            return parts
        return {name: part for name, part in parts.items() if part is not None}

    @model_validator(mode="after")
    def _is_a_table(self) -> "TableSettings":
        lists = {"parts": list(self.parts), "seeds": self.seeds}
        for name, part in self.parts.items():
            for key in ("rows", "columns", "methods"):
                lists[f"parts.{name}.{key}"] = getattr(part, key)
                labels = [entry.label for entry in getattr(part, key)]
                if twice := [label for label in labels if labels.count(label) > 1]:
                    raise self._wrong(
                        f"parts.{name}.{key} has the label {twice[0]} twice; each needs its own"
                    )
        for name, values in lists.items():
            self._refuse_empty_or_twice(name, values)
        for name, part in self.parts.items():
            labels = [method.label for method in part.methods]
            for label in (known := part.compared_with or []):
                if label not in labels or known.count(label) > 1:
                    raise self._wrong(
                        f"parts.{name}.compared_with has {label!r}; it takes the labels of its "
                        f"methods, each once: {', '.join(labels)}"
                    )
        if self.error_of not in ("last", "best"):
            raise self._wrong(f"error_of={self.error_of}: expected last or best")
        for column in (column for part in self.parts.values() for column in part.columns):
            if column.seeds is not None and column.seeds < 1:
                raise self._wrong(f"column {column.label} has seeds={column.seeds}")
        for method in (method for part in self.parts.values() for method in part.methods):
            if method.lacks_a_name:
                raise self._wrong(
                    f"method {method.label} has settings and needs a name, or its runs would lie "
                    f"where {method.optimizer}'s do"
                )
        return self
