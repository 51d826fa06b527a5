"""A page of HTML that needs nothing else: what it consists of, and its text.

A page is sections of paragraphs, tables, figures and commands, whatever it is of, so that tables,
studies, tunings and a whole root look alike. What stands in it is escaped by Jinja2, but for what
is ``Markup`` already. It loads nothing, can be read without its script, and says in its head what
it is (``<title>``, and its verdict as ``<meta name="description">``): the root's index reads that.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gnp.report.grid import Grid

TEMPLATES = Path(__file__).parent / "templates"
# In a long name, but in no number, nor before a letter or two at the end.
BREAKS = re.compile(r"(?<=_)(?=.{3})|(?<=\.)(?=[a-z])")


@dataclass(frozen=True)
class Column:
    """``group``: what stands above it and its neighbours of the same group; ``printed``: whether it
    is of use on paper; ``whole``: that its lines stay lines where others wrap, as numbers do."""

    name: str
    numeric: bool = False
    group: str = ""
    printed: bool = True
    whole: bool = False

    @property
    def look(self) -> str:
        looks = {"number": self.numeric, "screen": not self.printed, "whole": self.whole}
        return " ".join(name for name, has in looks.items() if has)


@dataclass(frozen=True)
class Row:
    """``first`` begins a group of rows."""

    cells: Sequence[str]
    first: bool = False


@dataclass(frozen=True)
class Table:
    """The first ``labels`` cells of each row name it. ``filtered``: the script offers to show only
    the rows that hold a text."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    labels: int = 1
    filtered: bool = False

    @property
    def groups(self) -> list[tuple[str, int]]:
        """(group, number of columns) of neighbours; empty where no column has one."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = column.group, found[-1][1] + 1
            else:
                found.append((column.group, 1))
        return found if any(group for group, _ in found) else []


@dataclass(frozen=True)
class Figure:
    """``pictures`` are SVG elements, that stand beside one another where there is room; ``narrow``
    takes their place on narrow screens, if there is one."""

    kind: ClassVar[str] = "figure"
    caption: str
    pictures: Sequence[Markup]
    legend: Markup | None = None
    narrow: Markup | None = None


@dataclass(frozen=True)
class Text:
    """A paragraph. ``look``: "note" (what the numbers are), "label" (what must be read first),
    "warning" or "verdict"."""

    kind: ClassVar[str] = "text"
    text: str
    look: str = "note"


@dataclass(frozen=True)
class Output:
    """Commands, or what a program printed."""

    kind: ClassVar[str] = "output"
    title: str
    text: str


@dataclass(frozen=True)
class Definition:
    """Entries that have names, and places that links lead to (their ids)."""

    kind: ClassVar[str] = "definition"
    entries: Sequence[tuple[str, str, Sequence[str]]]  # (id, name, lines)


@dataclass(frozen=True)
class Card:
    """A page that this one leads to: its title (a link, where there is one), what it says, and
    links to files beside it."""

    kind: ClassVar[str] = "card"
    title: str
    text: str
    links: Sequence[str]


Part = Table | Figure | Text | Output | Definition | Card


@dataclass(frozen=True)
class Section:
    heading: str
    parts: Sequence[Part]

    @property
    def id(self) -> str:
        return slug(self.heading)


@dataclass(frozen=True)
class Page:
    """``above``: the name and the address of the page that leads here; ``summary``: what it says in
    a sentence or two."""

    title: str
    summary: str
    sections: Sequence[Section]
    above: tuple[str, str] | None = None


def to_html(page: Page) -> str:
    return _environment().get_template("page.html").render(page=page, **_inlined())


def template(name: str, **values: object) -> Markup:
    """The text of a template, such as a figure's."""
    return Markup(_environment().get_template(name).render(**values))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"lines": lines, "breakable": breakable}
    return environment


@cache
def _inlined() -> Mapping[str, Markup]:
    names = {"style": "style.css", "script": "script.js"}
    return {
        key: Markup((TEMPLATES / file).read_text(encoding="utf-8")) for key, file in names.items()
    }


# ---------------------------------------------------------------------- texts


def lines(text: str) -> Markup:
    """A text of any number of lines, whose lines stay lines."""
    return Markup("<br>\n").join(text.strip().splitlines())


def breakable(name: str) -> Markup:
    """A name that may go on in the next line after an underscore or a dot: a browser would not
    break it. What is ``Markup`` already stays as it is."""
    return name if isinstance(name, Markup) else Markup("<wbr>").join(BREAKS.split(name))


def slug(text: str) -> str:
    """A text as an id: letters, digits and hyphens."""
    return re.sub(r"\W+", "-", text.lower()).strip("-") or "section"


def strong(text: str) -> Markup:
    return Markup("<strong>{}</strong>").format(text)


def link(text: str, address: str | Path) -> Markup:
    """To a file, by its path from the page, or to a place ("#id")."""
    path = str(address)
    return Markup('<a href="{}">{}</a>').format(path if path[:1] == "#" else quote(path), text)


def of_grid(grid: Grid, caption: str, filtered: bool = False) -> Table:
    """A grid in which every row has all of its labels: those that it leaves to the row above,
    too, as rows can be sorted. Columns stand below their groups, and one that has its group's name
    is the error."""
    groups = grid.groups or [""] * len(grid.headers)
    columns = [
        Column("error" if header == group else header, index >= grid.label_columns, group)
        for index, (header, group) in enumerate(zip(grid.headers, groups, strict=True))
    ]
    rows, labels = [], [""] * grid.label_columns
    for line in grid.lines:
        labels = [own or above for own, above in zip(line.labels, labels, strict=True)]
        cells = [strong(entry.text) if entry.best else entry.text for entry in line.entries]
        rows.append(Row([*labels, *cells], line.first))
    return Table(caption, columns, rows, grid.label_columns, filtered)
