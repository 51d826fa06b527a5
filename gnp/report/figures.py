"""Figures as files: the same records give the same bytes.

Figures are made as ``matplotlib.figure.Figure``, without pyplot: no display is asked for, and
there is nothing to close. matplotlib takes long to import: who only reads or trains does not wait
for it.
"""

from __future__ import annotations

import importlib
import io
import re
from html import escape
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = {"svg.fonttype": "none", "svg.hashsalt": "gnp", "font.size": 9, "savefig.dpi": 160}
STYLE |= {"text.parse_math": False}  # a dollar sign in a label is one

# The paper's figures have the standard scheme in green and SAM in orange. These two, and the blue
# of GNP, are told apart by colour-blind readers too, and stand out from white and from black.
STANDARD, SAM, GNP = "#00916A", "#D97706", "#2B7BBA"
FURTHER = ("#B4559C", "#7A6F00", "#C23B22", "#5B6770")  # methods with settings of their own
# Theirs too, because not all of these are told apart by everybody: matplotlib's name of a mark, and
# its outline about 0. Colours and marks are no multiple of each other, so twenty pairs differ.
MARKS = {
    "o": "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "s": "M-3-3h6v6h-6z",
    "^": "M0-3.5l3.5 6h-7z",
    "D": "M0-4l4 4-4 4-4-4z",
    "v": "M0 3.5l3.5-6h-7z",
}


def import_matplotlib() -> None:
    """What a figure will need, at a time when nobody waits for it."""
    for name in ("figure", "backends.backend_svg"):
        importlib.import_module(f"matplotlib.{name}")


def to_svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # Without the date the same records give the same file.
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def embedded(svg: str, name: str, what: str) -> Markup:
    """A figure's SVG as an element of a page, or of another SVG: with ids of its own, no background
    and no metadata, as a picture of ``what``. What is black in it takes the page's colour.

    Args:
        svg: matplotlib's.
        name: what its ids begin with; no two figures of a page have the same.
    """
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, count=1, flags=re.S)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    text = text.replace('style="fill: #ffffff"', 'style="fill: none"')  # the backgrounds
    head = f'<svg class="picture" role="img" aria-label="{escape(what)}"'
    return Markup(text.replace("<svg", head, 1))
