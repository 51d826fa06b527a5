"""Figures as files: the same records give the same bytes.

Figures are made as ``matplotlib.figure.Figure``, without pyplot: no display is asked for, and
there is nothing to close. matplotlib takes long to import: who only reads or trains does not wait
for it.
"""

from __future__ import annotations

import importlib
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = {"svg.fonttype": "none", "svg.hashsalt": "gnp", "font.size": 9, "savefig.dpi": 160}
STYLE |= {"text.parse_math": False}  # a dollar sign in a label is one


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
