"""Numbers to places on a line, and the round numbers that are written along it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """From ``low`` to ``high``, drawn from ``left`` to ``right``."""

    low: float
    high: float
    left: float
    right: float

    def __call__(self, value: float) -> float:
        """Where a value is drawn; at the end where it lies beyond."""
        inside = min(max(value, self.low), self.high)
        share = (inside - self.low) / (self.high - self.low)
        return round(self.left + share * (self.right - self.left), 1)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def ticks(self, about: int) -> list[tuple[float, str]]:
        """(place, text) of some ``about`` round numbers, at most twice as many."""
        step = round_step((self.high - self.low) / about)
        digits = max(0, -math.floor(math.log10(step)))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        numbers = [number * step for number in range(first, last + 1)]
        return [(self(x), f"{x:+.{digits}f}" if round(x, 9) else "0") for x in numbers]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, …, and their tenths, that is not below ``least`` above 0."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def around(
    points: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """(low, high) that hold 0, all points, and of the intervals as much as is not far beyond those:
    one that two seeds gave may be a hundred times as wide as the others, of which nothing could be
    seen then."""
    low, high = min(0.0, *points), max(0.0, *points)
    size = max(high - low, 1e-6)
    widths = sorted(b - a for a, b in intervals)
    most = max(size, 2 * widths[(len(widths) - 1) // 2] if widths else 0.0)
    low = max(min([low, *(a for a, _ in intervals)]), low - most)
    high = min(max([high, *(b for _, b in intervals)]), high + most)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin
