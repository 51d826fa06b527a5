"""How wide what is printed may be."""

import os
import textwrap

from rich.console import Console


def width_of(console: Console) -> int | None:
    """Characters of a line; None in a file or a pipe, unless COLUMNS says how many."""
    has_width = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return console.width if has_width else None


def wrapped(text: str, width: int | None) -> str:
    """Prose, whose lines end where a word does; a path or another long word stays whole."""
    if width is None:
        return text
    return "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def shortened(text: str, width: int) -> str:
    """Both ends of a text that is longer than ``width``."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"
