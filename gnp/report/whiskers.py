"""Differences with their intervals as a dot-and-whisker figure, of the page or by itself.

The SVG has light and dark colours of its own, and names what it shows.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gnp.report.numbers import format_interval
from gnp.report.page import template
from gnp.report.scale import Scale, around

WIDE, NARROW = 760, 340  # px; text is 13 px high, which is what it takes on a phone
LETTER, BOLD = 6.9, 7.6  # px that a letter of it takes at most, in the mean
LINE, MARGIN = 22, 10
MOST_OF_NAMES = 310  # px that they take beside the whiskers


@dataclass(frozen=True)
class Whisker:
    """A difference: below 0 the first of the two that ``name`` names is the lower one.

    Attributes:
        group: what stands above it and its neighbours of the same group.
        values: those that ``mean`` and ``interval`` are of, one a seed.
        verdict: in a word.
        decided: is it one of the two?
    """

    group: str
    name: str
    values: Sequence[float]
    mean: float
    interval: tuple[float, float]
    verdict: str
    decided: bool

    @property
    def numbers(self) -> str:
        return f"{self.mean:+.2f} {format_interval(self.interval)}"


def picture(
    whiskers: Sequence[Whisker], title: str, axis: str, narrow: bool = False, alone: bool = False
) -> Markup:
    """Args:
    axis: what the numbers are.
    narrow: for a phone's width: what is beside a whisker then stands above it.
    alone: as a file of its own.
    """
    width = NARROW if narrow else WIDE
    verdict = width - MARGIN - BOLD * max(len(w.verdict) for w in whiskers)
    numbers = verdict - LETTER * max(len(w.numbers) for w in whiskers) - 16
    names = min(LETTER * max(len(w.name) for w in whiskers) + 16, MOST_OF_NAMES)
    left, right = (MARGIN, width - MARGIN) if narrow else (names, numbers)
    points = [x for w in whiskers for x in (*w.values, w.mean)]
    low, high = around(points, [w.interval for w in whiskers])
    scale = Scale(low, high, left, right)
    y = top = 34.0 if alone else 6.0
    headings, rows, group = [], [], None
    for whisker in whiskers:
        if whisker.group != group:
            group = whisker.group
            for line in _wrapped(group, width - 2 * MARGIN, BOLD):
                headings.append((y + 19, line))
                y += LINE
            y += 6
        rows.append(_row(whisker, scale, y, narrow, numbers if narrow else names))
        y += rows[-1]["height"]
    return template(
        "whiskers.svg",
        alone=alone,
        title=title,
        description="; ".join(f"{w.group}: {w.name} {w.numbers} {w.verdict}" for w in whiskers),
        axis=axis,
        width=width,
        height=round(y + 46),
        headings=headings,
        rows=rows,
        zero=scale(0),
        ticks=scale.ticks(4 if narrow else 8),
        middle=width / 2 if narrow else (left + right) / 2,
        numbers=verdict - 7,
        verdict=verdict,
        top=top,
        bottom=y,
    )


def _row(whisker: Whisker, scale: Scale, top: float, narrow: bool, room: float) -> dict:
    """``room``: px that a name has beside the numbers."""
    low, high = whisker.interval
    names = _wrapped(whisker.name, room - MARGIN, LETTER)
    above = LINE * (len(names) if narrow else len(names) - 1)
    return {
        "names": [(top + 15 + LINE * number, line) for number, line in enumerate(names)],
        "numbers": whisker.numbers,
        "verdict": whisker.verdict,
        "decided": whisker.decided,
        "text": top + 15 + LINE * (len(names) - 1),
        "y": top + above + (8 if narrow else LINE / 2),
        "height": above + (18 if narrow else LINE),
        "low": scale(low),
        "high": scale(high),
        "cut_low": not scale.holds(low),
        "cut_high": not scale.holds(high),
        "mean": scale(whisker.mean),
        "values": [scale(value) for value in whisker.values],
    }


def _wrapped(text: str, room: float, letter: float) -> list[str]:
    return textwrap.wrap(text, max(8, int(room / letter)))
