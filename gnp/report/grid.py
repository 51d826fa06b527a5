"""A grid of strings, from which every form of a table is made: so they all say the same."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A printed number; ``best`` sets it in bold, which says that it is decided to be best."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Line:
    """``labels`` stand in the first columns; ``first`` begins a group of lines."""

    labels: list[str]
    entries: list[Entry]
    first: bool = False


@dataclass(frozen=True)
class Grid:
    """The first ``label_columns`` of the headers are of the lines' labels, the others of their
    entries. ``groups``, if there are any: for each header what it is of, "" for nothing."""

    headers: list[str]
    lines: list[Line]
    label_columns: int
    groups: list[str] | None = None


def starred(text: str, chosen: bool) -> str:
    """With a star where a number was chosen for being the lowest, which decides nothing."""
    return f"{text} ★" if chosen else text
